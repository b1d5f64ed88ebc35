"""The trees of a forest: grown by scikit-learn, kept as plain arrays, predicted in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.models.maxrm.table import Floats

BLOCK = 32_768
"""Rows predicted at once by a thread: a block of rows and one tree fit into a processor's cache."""


def workers(n_jobs: int) -> int:
    """Threads to use; 0 means all cores this process may use."""
    from joblib import cpu_count

    return n_jobs if n_jobs > 0 else int(cpu_count())


def in_threads(n_jobs: int, function: Any, arguments: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """Results of ``function`` in the order of its arguments, from threads that do not multiply inside each other."""
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1, user_api="blas"):
        yield from Parallel(n_jobs=workers(n_jobs), prefer="threads", return_as="generator")(
            delayed(function)(*one) for one in arguments
        )


def leaf_nodes(tree: Any) -> NDArray[np.intp]:
    """Numbers of the nodes of a scikit-learn tree that are leaves."""
    return np.flatnonzero(tree.children_left < 0)


def leaf_of_rows(tree: Any, X: NDArray[np.float32]) -> NDArray[np.int32]:
    """Leaf of each row, counted among the leaves, shape (rows,)."""
    leaves = leaf_nodes(tree)
    position = np.zeros(tree.node_count, dtype=np.int32)
    position[leaves] = np.arange(len(leaves), dtype=np.int32)
    leaf: NDArray[np.int32] = position[tree.apply(X)]
    return leaf


def mean_prediction(trees: Sequence[Any], X: NDArray[np.float32], *, n_jobs: int) -> Floats:
    """Mean of the trees' values, shape (rows,), summed in the order of the trees whatever ``n_jobs``."""
    out = np.empty(len(X))

    def predict_block(first: int) -> None:
        rows = slice(first, first + BLOCK)
        block = np.ascontiguousarray(X[rows])
        total = np.zeros(len(block))
        for tree in trees:
            total += tree.predict(block)[:, 0]
        out[rows] = total / len(trees)

    for _ in in_threads(n_jobs, predict_block, [(first,) for first in range(0, len(X), BLOCK)]):
        pass
    return out


def save_trees(path: Path, trees: Sequence[Any]) -> None:
    """Write trees as an .npz file of plain arrays, 22 bytes a node.

    Inner nodes hold their threshold and leaves their value in the one array ``number``.
    """
    left = np.concatenate([tree.children_left for tree in trees])
    number = np.concatenate([np.where(t.children_left < 0, t.value[:, 0, 0], t.threshold) for t in trees])
    np.savez(
        path,
        nodes=np.array([tree.node_count for tree in trees], dtype=np.int64),
        depth=np.array([tree.max_depth for tree in trees], dtype=np.int32),
        left=left.astype(np.int32),
        right=np.concatenate([tree.children_right for tree in trees]).astype(np.int32),
        feature=np.concatenate([tree.feature for tree in trees]).astype(np.int16 if _small(trees) else np.int32),
        number=number,
    )


def _small(trees: Sequence[Any]) -> bool:
    return bool(trees[0].n_features < 2**15)


def load_trees(path: Path, n_features: int) -> list[Any]:
    """Read what :func:`save_trees` wrote, as scikit-learn trees that predict exactly the same."""
    from sklearn.tree import DecisionTreeRegressor

    # scikit-learn's own state of a tree, taken from a tiny one: its layout differs between versions.
    tiny = DecisionTreeRegressor().fit(np.zeros((2, n_features), dtype=np.float32), [0.0, 1.0]).tree_
    make, arguments, state = tiny.__reduce__()
    try:
        with np.load(path, allow_pickle=False) as kept:
            sizes, depths = kept["nodes"], kept["depth"]
            left, right, feature, number = kept["left"], kept["right"], kept["feature"], kept["number"]
    except BadZipFile as error:
        raise ValueError(f"{path.name}: {error}") from None
    trees = []
    ends = np.cumsum(sizes)
    for size, depth, end in zip(sizes, depths, ends, strict=True):
        of = slice(end - size, end)
        nodes = np.zeros(size, dtype=state["nodes"].dtype)
        leaf = left[of] < 0
        inner = np.flatnonzero(~leaf)
        _check_nodes(path, np.stack([left[of], right[of]])[:, ~leaf], feature[of][~leaf], inner, size, n_features)
        nodes["left_child"], nodes["right_child"], nodes["feature"] = left[of], right[of], feature[of]
        nodes["threshold"] = np.where(leaf, -2.0, number[of])
        values = np.where(leaf, number[of], 0.0).reshape(size, 1, 1)
        tree = make(*arguments)
        tree.__setstate__({**state, "max_depth": int(depth), "node_count": int(size), "nodes": nodes, "values": values})
        trees.append(tree)
    return trees


def _check_nodes(path: Path, children: Any, feature: Any, number: NDArray[np.intp], size: int, n_features: int) -> None:
    """Refuse inner nodes that lead out of the tree or around in it: compiled code follows them unchecked."""
    if size < 1 or (children <= number).any() or (children >= size).any():
        raise ValueError(f"{path.name}: a node leads out of its tree")
    if (feature < 0).any() or (feature >= n_features).any():
        raise ValueError(f"{path.name}: a node splits a column that is not there")
