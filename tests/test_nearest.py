"""The nearest of the known names to a misspelt one."""

from sassl_tf.nearest import nearest


def test_nearest():
    assert nearest("imagenete", ["smoke", "imagenette"]) == ' Did you mean "imagenette"?'
    assert nearest("zzz", ["smoke", "imagenette"]) == ""
