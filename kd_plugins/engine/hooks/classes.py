"""A teacher of other classes than the student's must not judge them."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...distillers.interface import is_distiller, unwrap
from ...registry import HOOKS


@HOOKS.register_module()
class ClassNamesHook(Hook):
    """Tells the distiller the class names of the data it is trained on.

    The teacher's are in its checkpoint's ``dataset_meta``; where pairs match class by
    class and the two differ, using the teacher is an error that lists both.
    """

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
        names = metainfo.get('classes')
        if is_distiller(model) and names is not None:
            model.set_class_names([str(name) for name in names])
