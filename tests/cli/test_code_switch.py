"""minixl data code-switch."""


def test_on_the_command_line(tmp_path, minixl):
    (tmp_path / "en.tsv").write_text("a\tthe visit\nb\tparis\n")
    (tmp_path / "d.txt").write_text("the el\n")
    command = ["data", "code-switch", "classification", f"en={tmp_path}/en.tsv", "--dictionary", tmp_path / "d.txt", "--out"]
    code, out, err = minixl(*command, tmp_path / "mixed.tsv")
    assert (code, out) == (0, f"{tmp_path}/mixed.tsv: replaced 33.3 % of 3 different words, 33.3 % of 3 words\n")
    assert (tmp_path / "mixed.tsv").read_text() == "a\tel visit\nb\tparis\n"
    code, out, err = minixl(*command, tmp_path / "en.tsv")
    assert code == 1 and err.startswith(f"Error: --out {tmp_path}/en.tsv: expected a new file, found one that is read; choose")
