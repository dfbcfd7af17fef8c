"""Reads a SavedModel's variables from its files, without running any of its graph.

`tf.saved_model.load` may run functions of the model (its initializers), and a TensorFlow graph can
read and write files. Here two protocol buffers and the checkpoint are parsed, and nothing else.
"""

import pathlib

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def listed_variables(folder):
    """The variables that a SavedModel lists under `variables`.

    Args:
        folder: the SavedModel.

    Returns:
        {name: array}; empty where there is no such list.

    Raises:
        Exception: of many types, where the files are damaged.
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
    # The model knows a variable's name, the checkpoint under which key its value is. Both have the
    # list by the same path from the root.
    names = {place: node.variable.name for place, node in _list(objects, "variables").items()}
    keys = {place: _key(node) for place, node in _list(saved, "variables").items()}
    return {
        name: reader.get_tensor(keys[place])
        for place, name in names.items()
        if name and keys.get(place)
    }


def _list(nodes, name):
    """{place: node} of the children of a child of the root."""
    for child in nodes[0].children if nodes else ():
        if child.local_name == name:
            children = nodes[child.node_id].children
            return {place.local_name: nodes[place.node_id] for place in children}
    return {}


def _key(node):
    """Under which key of the checkpoint a variable's value is, or None."""
    values = (a.checkpoint_key for a in node.attributes if a.name == "VARIABLE_VALUE")
    return next(values, None)
