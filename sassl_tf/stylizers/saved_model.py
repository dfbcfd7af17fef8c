"""A reader of a SavedModel's variables that runs none of its graph.

`tf.saved_model.load` may run functions of the model (its initializers), and a TensorFlow graph can
read and write files. Here two protocol buffers and the checkpoint are parsed, and nothing else.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from sassl_tf.typing import PathLike

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def listed_variables(folder: PathLike) -> dict[str, np.ndarray]:
    """Returns the variables that a SavedModel lists under `variables`.

    Args:
        folder: the SavedModel.

    Returns:
        {name: array}; empty where there is no such list.

    Raises:
        Exception: the files are damaged; its type depends on the damage.
    """
    folder = pathlib.Path(folder)
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    objects = model.meta_graphs[0].object_graph_def.nodes
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    if not reader.has_tensor(_OBJECT_GRAPH):  # TensorFlow 1's form
        return {}
    saved = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor(_OBJECT_GRAPH)
    ).nodes
    # The model knows a variable's name; the checkpoint knows the key of its value. Both have the
    # list under the same path from the root.
    names = {place: node.variable.name for place, node in _list(objects, "variables").items()}
    keys = {place: _key(node) for place, node in _list(saved, "variables").items()}
    return {
        name: reader.get_tensor(keys[place])
        for place, name in names.items()
        if name and keys.get(place)
    }


def _list(nodes: Sequence[Any], name: str) -> Mapping[str, Any]:
    """Returns {place: node}: the children of the child of the root that has the name."""
    for child in nodes[0].children if nodes else ():
        if child.local_name == name:
            children = nodes[child.node_id].children
            return {place.local_name: nodes[place.node_id] for place in children}
    return {}


def _key(node: Any) -> str | None:
    """Returns the key of a variable's value in the checkpoint, or None."""
    values = (a.checkpoint_key for a in node.attributes if a.name == "VARIABLE_VALUE")
    return next(values, None)
