"""The doctor's view of teachers that are more than a frozen model."""

from mmengine.config import Config

from kd_plugins.apis.doctor.teachers import teachers_of


def facts(teacher: object) -> list[tuple[str, str, str | None]]:
    cfg = Config(dict(model=dict(teacher=teacher)))
    return [(each.name, each.key, each.checkpoint) for each in teachers_of(cfg)]


def test_each_member_of_an_ensemble_is_looked_at() -> None:
    members = [dict(cfg='a.py', checkpoint='a.pth'), dict(cfg='b.py', checkpoint='b.p')]
    many = dict(type='kd_plugins.Ensemble', members=members)
    assert facts(many) == [
        ('teacher.0', 'model.teacher.members.0', 'a.pth'),
        ('teacher.1', 'model.teacher.members.1', 'b.p'),
    ]
    assert facts(dict(many=many, one=members[0])) == [
        ('many.0', 'model.teacher.many.members.0', 'a.pth'),
        ('many.1', 'model.teacher.many.members.1', 'b.p'),
        ('one', 'model.teacher.one', 'a.pth'),
    ]
    assert facts(members[0]) == [('teacher', 'model.teacher', 'a.pth')]


def test_of_a_route_the_last_checkpoint_is_looked_at() -> None:
    road = dict(type='Route', cfg='a.py', checkpoints={0: 'a.pth', 500: 'b.pth'})
    assert facts(road) == [('teacher', 'model.teacher', 'b.pth')]


def test_the_model_of_a_typed_teacher_is_that_of_its_config() -> None:
    teacher = dict(
        type='Privileged',
        cfg='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.py',
        input='sharp',
        checkpoint='a.pth',
    )
    cfg = Config(dict(model=dict(teacher=teacher)))
    (found,) = teachers_of(cfg)
    assert found.model.type == 'GFL' and 'input' not in found.model
