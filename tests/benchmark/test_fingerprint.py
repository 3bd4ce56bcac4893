import json
from types import SimpleNamespace

import torch
from torch import nn

from kd_plugins.benchmark.fingerprint import FILE, FingerprintHook, digest_of


class Distiller(nn.Linear):
    """A distiller as far as the hook knows one."""

    def set_clock(self, clock):
        raise AssertionError

    def student_state_dict(self, state):
        return {'weight': state['weight']}


def fingerprint(tmp_path, model, images, *, start=0, iterations=25):
    runner = SimpleNamespace(
        iter=start, max_iters=iterations, model=model, work_dir=str(tmp_path)
    )
    hook = FingerprintHook()
    hook.before_train(runner)
    for runner.iter in range(start, iterations):
        batch = {'inputs': [images[runner.iter]], 'data_samples': []}
        hook.before_train_iter(runner, runner.iter, batch)
    path = tmp_path / FILE
    return json.loads(path.read_text()) if path.exists() else None


def test_same_weights_and_batches_have_the_same_fingerprint(tmp_path):
    model, images = nn.Linear(2, 3), torch.rand(25, 3, 4, 4)
    first = fingerprint(tmp_path, model, images)
    assert fingerprint(tmp_path, model, images) == first
    changed = images.clone()
    changed[3, 0, 0, 0] += 1
    other = fingerprint(tmp_path, model, changed)
    assert other['batches'] != first['batches']
    assert other['student'] == first['student']
    assert fingerprint(tmp_path, nn.Linear(2, 3), images)['student'] != first['student']


def test_only_the_first_twenty_batches_count(tmp_path):
    model, images = nn.Linear(2, 3), torch.rand(25, 3, 4, 4)
    first = fingerprint(tmp_path, model, images)
    images[22] = 0
    assert fingerprint(tmp_path, model, images) == first


def test_a_distillers_is_that_of_its_student(tmp_path):
    model = Distiller(2, 3)
    found = fingerprint(tmp_path, model, torch.rand(25, 3, 4, 4))
    assert found['student'] == digest_of([('weight', model.weight)])


def test_a_shorter_run_has_one_too(tmp_path):
    assert fingerprint(tmp_path, nn.Linear(2, 3), torch.rand(2, 3, 4, 4), iterations=2)


def test_a_resumed_run_leaves_it_alone(tmp_path):
    images = torch.rand(25, 3, 4, 4)
    assert fingerprint(tmp_path, nn.Linear(2, 3), images, start=5) is None


def test_shape_and_type_count(tmp_path):
    zeros = torch.zeros(4)
    assert digest_of([('a', zeros)]) != digest_of([('a', zeros.view(2, 2))])
    assert digest_of([('a', zeros)]) != digest_of([('a', zeros.to(torch.int32))])
