"""A plain LSTM, one sentence, one token, one gate at a time: the independent reference; and torch.nn.LSTM."""
import numpy as np
import torch

LENGTHS = {"mixed": (3, 1, 5, 0, 2, 5), "one token": (1,), "one sentence": (7,), "ones": (1, 1, 1),
           "rising": (1, 2, 3, 4), "empty ends": (0, 4, 0), "empty batch": (), "only empty": (0, 0)}
SIDES = ("", "_reverse")


def packed(lengths):
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def random_weights(rng, inputs, size, *, tied, two_biases):
    """The keyword arguments of bilstm_forward (of Cell when tied), float64."""
    shapes = {"weight_ih": (4 * size, inputs), "weight_hh": (4 * size, size), "bias": (4 * size,)}
    if two_biases:
        shapes["bias_hh"] = (4 * size,)
    return {name + side: rng.normal(size=shape) / np.sqrt(size)
            for side in (SIDES[:1] if tied else SIDES) for name, shape in shapes.items()}


def plain_lstm(x, weights, starts, reverse=False, side=""):
    """hidden (T, H) and final (B, H), computed by loops, from torch tensors x and weights."""
    weight_ih, weight_hh = weights["weight_ih" + side], weights["weight_hh" + side]
    bias = weights["bias" + side] + weights.get("bias_hh" + side, 0)
    size = weight_hh.shape[1]
    hidden, final = [None] * len(x), []
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist()):
        h = c = torch.zeros(size, dtype=x.dtype)
        for row in (range(end - 1, begin - 1, -1) if reverse else range(begin, end)):
            a = weight_ih @ x[row] + weight_hh @ h + bias
            i, f, o = (torch.sigmoid(a[k * size:(k + 1) * size]) for k in (0, 1, 3))
            c = f * c + i * torch.tanh(a[2 * size:3 * size])
            h = hidden[row] = o * torch.tanh(c)
        final.append(h)
    empty = torch.zeros(0, size, dtype=x.dtype)
    return (torch.stack(hidden) if hidden else empty), (torch.stack(final) if final else empty)


def plain_bilstm(x, weights, starts):
    """Both directions side by side, with the same cell if there is only one."""
    other = "_reverse" if "weight_ih_reverse" in weights else ""
    sides = [plain_lstm(x, weights, starts), plain_lstm(x, weights, starts, reverse=True, side=other)]
    return torch.cat([hidden for hidden, _ in sides], 1), torch.cat([final for _, final in sides], 1)


def torch_bilstm(x, weights, starts):
    """torch.nn.LSTM on a PackedSequence with these weights, two biases each; sentences must not be empty."""
    size = weights["weight_hh"].shape[1]
    module = torch.nn.LSTM(x.shape[1], size, bidirectional="weight_ih_reverse" in weights).double()
    named = {name.replace("bias_hh", "BIAS").replace("bias", "bias_ih").replace("BIAS", "bias_hh"): value
             for name, value in weights.items()}
    named = {name.replace("_reverse", "") + "_l0" + ("_reverse" if "_reverse" in name else ""): value
             for name, value in named.items()}
    sentences = [x[begin:end] for begin, end in zip(starts[:-1], starts[1:])]
    run = torch.nn.utils.rnn.pack_sequence(sentences, enforce_sorted=False)
    output, (final, _) = torch.func.functional_call(module, named, (run,))
    padded, lengths = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
    hidden = torch.cat([row[:length] for row, length in zip(padded, lengths.tolist())])
    return hidden, final.transpose(0, 1).reshape(len(sentences), -1)


def gradients(function, x, weights, starts, dhidden, dfinal):
    """hidden, final, dx and the weights' gradients of one of the functions above, as a dict of NumPy arrays."""
    tx = torch.tensor(x, requires_grad=True)
    tweights = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
    hidden, final = function(tx, tweights, starts)
    loss = 0 * tx.sum() + 0 * sum(value.sum() for value in tweights.values())
    (loss + (hidden * torch.tensor(dhidden)).sum() + (final * torch.tensor(dfinal)).sum()).backward()
    results = {"hidden": hidden.detach().numpy(), "final": final.detach().numpy(), "x": tx.grad.numpy()}
    return results | {name: value.grad.numpy() for name, value in tweights.items()}
