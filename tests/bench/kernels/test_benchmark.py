"""`minixl bench kernels` on the smallest sizes: every op is checked, timed and reported; PyTorch computes the same."""
import importlib.util
import json
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from minixl import kernels
from minixl.bench.kernels import benchmark, engines
from minixl.bench.kernels.cases import CASES
from minixl.bench.kernels.memory import peak, peak_of_the_pool
from minixl.bench.kernels.report import BEGIN, BEGIN_GPU, END, write_readme
from minixl.bench.kernels.resources import markdown, resources
from minixl.errors import UserError

CEILING = {"copy": 10.0, "product": 100.0}


@pytest.fixture
def quick(monkeypatch):
    """The smallest size of every op, the fewest calls, no process for the memory, no ceiling."""
    monkeypatch.setattr(benchmark, "SECONDS", 0)
    monkeypatch.setattr(benchmark, "CACHE", 0)
    monkeypatch.setattr(benchmark, "ceilings", lambda: CEILING)
    monkeypatch.setattr(benchmark, "peak", lambda name, number, kind: 1 << 20)
    monkeypatch.setattr(benchmark, "CASES", {name: replace(case, sizes=(case.sizes[0], case.sizes[0]))
                                             for name, case in CASES.items()})


def test_every_op_with_a_kernel_has_a_benchmark():
    assert set(CASES) == set(kernels.OPS)


def test_all_ops_in_one_run(quick, tmp_path, monkeypatch):
    tables, messages = [], []
    monkeypatch.setattr(benchmark, "resources", lambda names: [])
    result = benchmark.run(against="torch", json_file=tmp_path / "figures.json", plot_file=tmp_path / "figure.png",
                           say=messages.append, show=tables.append)
    assert messages[1:] == [f"{i} of {len(CASES)}: timing {name}" for i, name in enumerate(CASES, 1)] and len(tables) == 1
    assert json.loads((tmp_path / "figures.json").read_text()) == result
    assert (tmp_path / "figure.png").stat().st_size > 1000
    assert [row["op"] for row in result["rows"][::2]] == list(CASES)
    for own, torch in zip(result["rows"][::2], result["rows"][1::2], strict=True):
        assert own["engine"] == "numpy" and own["ratio"] == 1 and torch["engine"] == CASES[own["op"]].torch_name
        assert 0 < own["tenth_seconds"] <= own["median_seconds"] <= own["ninetieth_seconds"]
        rate = own["gigabytes_per_second"] if own["bound"] == "copy" else own["gigaflops"]
        assert own["percent_of_ceiling"] == pytest.approx(100 * rate / CEILING[own["bound"]])
    assert re.search("average_linkage +64 x 64 +numpy", tables[0]) and "copy 10 GB/s, product 100 GFLOP/s" in tables[0]


@pytest.mark.gpu
def test_on_a_gpu_kernels_cupy_and_numpy_are_timed(quick, monkeypatch, cuda):
    """Only the engine "kernel" launches kernels."""
    launched, timed, load, seconds = [], [], kernels.load, benchmark._gpu_seconds

    def gpu_seconds(function, repeats, *, warmup):
        before = len(launched)
        times = seconds(function, repeats, warmup=warmup)
        timed.append((len(launched) - before) // (repeats + warmup))
        return times

    monkeypatch.setattr(kernels, "load", lambda filename, function: launched.append(function) or load(filename, function))
    monkeypatch.setattr(benchmark, "_gpu_seconds", gpu_seconds)
    texts, per_call = [], {"softmax_cross_entropy": 4, "masked_softmax_dropout": 2}
    rows = benchmark.run(list(per_call), show=texts.append)["rows"]
    assert [row["engine"] for row in rows] == 2 * ["kernel", "cupy", "numpy"]
    assert [row["percent_of_ceiling"] is None for row in rows] == 2 * [False, False, True]
    assert rows[0]["ratio"] == 1 and all(row["median_seconds"] > 0 for row in rows)
    assert timed == [4, 4, 0, 0, 2, 2, 0, 0]                           # twice each: how many calls to make, and these
    assert re.search("masked_softmax_dropout +8 x 9 +cupy", texts[0]) and texts[0].startswith(f"{engines.device_name()} (numpy: ")


@pytest.mark.gpu
def test_peak_memory_on_a_gpu(cuda):
    """At least the results, which are as large as the inputs."""
    size = math.prod(CASES["gelu"].sizes[1].values())
    assert peak("gelu", 1, "kernel") >= 4 * size


@pytest.mark.gpu
def test_the_peak_counts_memory_that_the_pool_had_before(cuda):
    """Blocks that an earlier array gave back count again, and those that come back meanwhile are subtracted."""
    def ones():
        return cuda.ones(1 << 18, np.float32)                          # 1 MiB

    ones()                                                             # the pool keeps its memory
    with peak_of_the_pool() as measured:
        first = ones()
        del first
        kept = ones(), ones()
    assert measured.peak == measured.lent == 2 << 20
    del kept


def test_pytorch_computes_the_same_gradients(rng):
    """The gradients that the call in PyTorch leaves are those of the op."""
    gradients = {"average_linkage": ["x", "y"], "layernorm": ["x", "weight", "bias"], "gelu": ["x"],
                 "softmax_cross_entropy": ["logits"], "masked_softmax_dropout": ["x"]}
    for name, inputs_with_gradient in gradients.items():
        case = CASES[name]
        inputs = case.inputs(rng, **case.sizes[0])
        prepared = case.prepare(inputs, "cpu")
        case.torch(prepared)
        ours = case.call(benchmark.functions(name, "numpy"), inputs)[1:]
        for key, gradient in zip(inputs_with_gradient, ours, strict=True):
            np.testing.assert_allclose(gradient, prepared[key].grad.numpy(), rtol=1e-3, atol=1e-5, err_msg=f"{name} {key}")


def test_pytorch_crf_finds_the_same_tags(rng):
    case = CASES["viterbi"]
    inputs = case.inputs(rng, **case.sizes[0])
    tags = case.call(benchmark.functions("viterbi", "numpy"), inputs)[1]
    assert sum(case.torch(case.prepare(inputs, "cpu")), []) == tags.tolist()


def test_faiss_finds_the_same_translations(quick):
    pytest.importorskip("faiss")
    rng, case = np.random.default_rng(3), CASES["csls"]
    inputs = case.inputs(rng, words=300, hidden=16)
    ours = case.call(benchmark.functions("csls", "numpy"), inputs)[0]
    np.testing.assert_allclose(case.faiss(inputs), ours, atol=1e-5)
    rows = benchmark.run(["csls"], against="faiss", show=lambda text: None)["rows"]
    assert [row["engine"] for row in rows] == ["numpy", "faiss"] and rows[1]["ratio"] > 0


def test_pytorch_finds_the_same_translations(rng):
    case = CASES["csls"]
    inputs = case.inputs(rng, **case.sizes[0])
    ours = case.call(benchmark.functions("csls", "numpy"), inputs)[0]
    np.testing.assert_allclose(case.torch(case.prepare(inputs, "cpu")), ours, atol=1e-5)


def test_a_wrong_op_is_not_timed(monkeypatch):
    def wrong(name, kind):
        op = functions(name, kind)
        forward = op.gelu_forward
        op.gelu_forward = lambda x: (forward(x)[0] * (1.01 if x.dtype == np.float32 else 1), forward(x)[1])
        return op

    functions = benchmark.functions
    monkeypatch.setattr(benchmark, "functions", wrong)
    with pytest.raises(UserError, match=r"gelu .*, result 0: expected the float64 result within 0.002, found a difference"):
        benchmark.check("gelu", CASES["gelu"].sizes[0])


def test_peak_memory_of_one_call():
    """Value, dx and dy of 512 points with 512 dimensions are 2 MiB; n by m matrices would be more than twice that."""
    peak = benchmark.peak("average_linkage", 1, "numpy")
    assert peak is None or 2 << 20 <= peak < 20 << 20


def test_ceilings():
    ceilings = benchmark.ceilings()
    assert 0.1 < ceilings["copy"] < 1e5 and 1 < ceilings["product"] < 1e6


def test_the_readme_is_written_between_the_markers(tmp_path):
    result = {"device": "Test", "processor": "Test, 2 threads", "threads": 2, "against": None, "ceiling": CEILING,
              "rows": [], "resources": []}
    file = tmp_path / "README.md"
    file.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    write_readme(result, file)
    text = file.read_text()
    assert text.startswith(f"before\n{BEGIN}\n`minixl bench kernels --readme`\n\nTest, 2 threads") and "stale" not in text
    assert text.endswith(f"{END}\nafter\n")
    file.write_text("no markers")
    with pytest.raises(UserError, match="expected the markers"):
        write_readme(result, file)


def test_a_gpu_has_a_table_of_its_own(tmp_path):
    result = {"device": "Test GPU", "processor": "Test, 2 threads", "threads": None, "against": None, "ceiling": CEILING,
              "rows": [], "resources": []}
    file = tmp_path / "README.md"
    file.write_text(f"{BEGIN}\non a CPU\n{END}\n{BEGIN_GPU}\nstale\n{END}\nafter\n")
    write_readme(result, file)
    text = file.read_text()
    assert text.startswith(f"{BEGIN}\non a CPU\n{END}\n{BEGIN_GPU}\n`minixl bench") and text.endswith(f"{END}\nafter\n")
    assert "Test GPU (numpy: Test, 2 threads): copy" in text and "stale" not in text


def test_resources_are_listed_by_kernel(monkeypatch):
    entry = {"kernel": "k", "file": "k.cu", "registers": 20, "spilled_bytes": 0, "shared_bytes": 128}
    entries = [entry | {"architecture": a, "spilled_bytes": 8 * (a == 75)} for a in (75, 80, 90, 100)]
    assert "| k | 20, 8 bytes spilled | 20 | 20 | 20 | 128 |" in markdown(entries)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert resources() == [] and "nvcc was not found" in markdown([])


@pytest.mark.parametrize("arguments, message", [
    ({"names": ["relu"]}, "bench kernels: expected some of csls, average_linkage, .*, got 'relu'"),
    ({"against": "jax"}, "--against: expected torch or faiss, got 'jax'"),
    ({"against": "faiss"}, "--against faiss: average_linkage has no counterpart in faiss; name the ops: minixl bench kernels csls"),
    ({"names": ["gelu"], "readme": True}, "--readme: the table has all ops; leave out the names"),
])
def test_bad_input_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        benchmark.run(**arguments)


def unmeasured():
    raise AssertionError("measured before the checks")


@pytest.mark.parametrize("arguments, message", [
    ({"json_file": "no/file.json"}, "^--json .*/no/file.json: there is no folder .*/no$"),
    ({"json_file": "folder"}, r"^--json .*/folder: cannot be written \(Is a directory\); choose another file$"),
    ({"plot_file": "folder.png/"}, r"^--plot .*/folder.png: cannot be written \(Is a directory\); choose another file$"),
    ({"plot_file": "figure"}, "^--plot .*/figure: expected a name that ends in .*, found 'no ending'; .*/figure.png$"),
    ({"plot_file": "figure.doc"}, "^--plot .*/figure.doc: .* found '.doc'; choose for example --plot .*/figure.png$"),
    ({"readme": True}, "README.md: expected the markers")])
def test_files_are_checked_before_anything_is_measured(tmp_path, monkeypatch, arguments, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr(benchmark, "ceilings", unmeasured)
    monkeypatch.setattr(benchmark, "README", tmp_path / "README.md")
    arguments = {option: tmp_path / name if isinstance(name, str) else name for option, name in arguments.items()}
    with pytest.raises(UserError, match=message):
        benchmark.run([] if "readme" in arguments else ["gelu"], **arguments)


def test_matplotlib_is_checked_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "ceilings", unmeasured)
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    with pytest.raises(UserError, match="--plot: matplotlib is not installed"):
        benchmark.run(["gelu"], plot_file=tmp_path / "figure.png")


def test_pytorch_is_checked_before_anything_is_measured(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(benchmark, "ceilings", unmeasured)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torchcrf" else find_spec(name))
    with pytest.raises(UserError, match="--against torch: pytorch-crf is not installed"):
        benchmark.run(["gelu"], against="torch")


def test_the_table_is_shown_even_if_a_file_fails(quick, tmp_path, monkeypatch):
    """A file that was writable at the start may fail at the end, for example on a full disk."""
    texts = []
    monkeypatch.setattr(benchmark, "resources", lambda names: (tmp_path / "figures.json").mkdir() or [])
    with pytest.raises(IsADirectoryError):
        benchmark.run(["gelu"], json_file=tmp_path / "figures.json", show=texts.append)
    assert len(texts) == 1 and "gelu" in texts[0]
