import kd_plugins


def test_x():
    assert kd_plugins


def test_tiny(tiny_digits):
    assert (tiny_digits / 'annotations/train_300.json').exists()
