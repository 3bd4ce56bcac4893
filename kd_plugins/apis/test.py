"""Evaluate a student: any checkpoint of it, by its distillation's config or its own."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.model import BaseTTAModel
from mmengine.registry import METRICS
from mmengine.runner import Runner

from ..checkpoints import read_checkpoint, state_dict_of
from ..compression.quantization import check_calibrated
from ..deployment.scored import OnnxPredictor
from ..deployment.session import OnnxFile
from ..distillers.interface import unwrap
from ..distillers.peers import PEERS, check_no_peers, peer_model
from ..distillers.student import peer_of
from ..engine.opening import measures_fidelity
from ..engine.stages import last_stage
from ..errors import ConfigError, located
from ..evaluation.together import MeanSegmentor
from ..teachers import model_config
from ..teachers.augmentation import augmented_pipeline
from ..teachers.checkpoints import (
    load_strictly,
    peer_prefix,
    peers_in,
    weights_of,
)
from .train import build_runner

_FIDELITY = 'FidelityHook'


def evaluate(
    cfg: Config,
    checkpoint: str | Sequence[str],
    *,
    out: str | None = None,
    show: bool = False,
    show_dir: str | None = None,
    wait_time: float = 2.0,
    tta: bool = False,
    fidelity: bool = False,
) -> dict[str, float]:
    """Evaluate on the config's test data.

    Of a distillation's config the student alone is built, of peers the one that is
    deployed: no teacher is needed, nor anything that the student learned with; but for
    fidelity, which compares the two.

    Args:
        cfg: as ``prepare_config`` gives it; of several stages, the last one counts.
        checkpoint: of training, of the student, or exported; read safely and loaded
            strictly. Several, such as those of generations, are scored as one
            segmentor, by the mean of their class probabilities. An ``.onnx`` file is
            run by ONNX Runtime, in the place of the model.
        out: where predictions go: a ``.pkl`` file, for mmseg a folder.
        show: show predictions on the screen.
        show_dir: folder for painted predictions.
        wait_time: seconds that each is shown.
        tta: test-time augmentation, as the host's ``tools/test.py`` does it.
        fidelity: evaluate on the validation data instead, with the metrics of
            :class:`~kd_plugins.engine.hooks.FidelityHook` among the others: the
            config's hook, or one with its defaults.

    Returns: the metrics.
    Raises: ConfigError for options that do not go together.
    """
    cfg = last_stage(cfg)
    checkpoint, *others = [checkpoint] if isinstance(checkpoint, str) else checkpoint
    if others:
        _check_alone({'--tta': tta, '--fidelity': fidelity})
    onnx = _onnx_file([checkpoint, *others], {'--tta': tta, '--fidelity': fidelity})
    peer = peer_of(cfg)
    if fidelity:
        shown = {'--show': show, '--show-dir': show_dir}
        _compare(cfg, {'--out': out, **shown, '--tta': tta})
    elif 'student' in cfg.model:
        with located('model.student'):
            cfg.model = model_config(cfg.model.student)
    elif peer is not None:
        with located(f'{PEERS}.{peer}'):
            cfg.model = peer_model(cfg.model.peers[peer])
    cfg.load_from, cfg.resume = checkpoint, False
    if show or show_dir:
        _draw(cfg, show, show_dir, wait_time)
    if tta:
        _augment(cfg)
    if out is not None:
        _check_out(cfg, out)
    runner = build_runner(cfg)
    if out is not None and not _is_of(cfg, 'mmseg'):
        _dump(runner, cfg, out)

    def load_safely(path: str, *_args: Any, **_options: Any) -> None:
        if onnx is not None:
            host: Any = unwrap(runner.model)
            runner.model = OnnxPredictor(onnx, host)
            runner.logger.info(f'ONNX Runtime runs {path}')
            return
        content = _read(path, peer)
        weights = content['state_dict']
        runner.call_hook('after_load_checkpoint', checkpoint=content)
        model: Any = unwrap(runner.model)
        if isinstance(model, BaseTTAModel):
            model = model.module
        elif fidelity:
            model = model.student
        load_strictly(model, weights, 'checkpoint')
        with located('checkpoint'):
            check_calibrated(model)
        runner.logger.info(f'Load checkpoint from {path}')
        if others:
            members = [model]
            for other in others:
                members.append(copy.deepcopy(model))
                load_strictly(
                    members[-1], _read(other, peer)['state_dict'], 'checkpoint'
                )
                runner.logger.info(f'Load checkpoint from {other}')
            runner.model = MeanSegmentor(members)

    # The host's own would unpickle whatever the file holds, and take what fits.
    runner.load_checkpoint = load_safely
    metrics: dict[str, float] = runner.val() if fidelity else runner.test()
    return metrics


def _onnx_file(
    checkpoints: Sequence[str], others: Mapping[str, bool]
) -> OnnxFile | None:
    """The ONNX file among the checkpoints, which must be the only one; or None."""
    if not any(path.endswith('.onnx') for path in checkpoints):
        return None
    given = [name for name, value in others.items() if value]
    if len(checkpoints) > 1:
        given.append(f'{len(checkpoints)} checkpoints')
    if given:
        raise ConfigError(
            'an ONNX file is scored alone and on images as they are, got '
            f'{" and ".join(given)}. Give the .onnx file only.'
        )
    with located('checkpoint'):
        return OnnxFile(checkpoints[0])


def _read(path: str, peer: str | None) -> dict[str, Any]:
    """A checkpoint, and of its weights those of the student, or of a peer."""
    with located('checkpoint'):
        content = read_checkpoint(path)
        together = peer is not None and peers_in(state_dict_of(content, path))
    prefix = peer_prefix(peer) if peer is not None and together else None
    weights = weights_of(content, source=path, key='checkpoint', prefix=prefix)
    return {**content, 'state_dict': weights}


def _check_alone(others: Mapping[str, bool]) -> None:
    """Refuse what looks at one model, where several are scored as one."""
    for name, value in others.items():
        if value:
            raise ConfigError(
                f'{name} looks at one model, and several checkpoints are scored as '
                'one. Give one checkpoint, or leave it out.'
            )


def _is_of(cfg: Config, host: str) -> bool:
    """Whether a config is of this host; one in pure Python may name no scope."""
    scope = cfg.get('default_scope')
    if scope is None:
        kind = cfg.model.get('type')
        scope = kind if isinstance(kind, str) else getattr(kind, '__module__', '')
    return str(scope).partition('.')[0] == host


def _compare(cfg: Config, others: Mapping[str, Any]) -> None:
    """Have the validation of a distillation measure fidelity."""
    options = [name for name, value in others.items() if value]
    if options:
        raise ConfigError(
            '--fidelity compares numbers on the validation data, got '
            f'{" and ".join(options)} too. Leave one out.'
        )
    check_no_peers(cfg.model, '--fidelity')
    if 'student' not in cfg.model:
        raise ConfigError(
            '--fidelity compares a student with its teacher: expected the config of a '
            f"distillation, got a model of type '{cfg.model.get('type')}'. Give the "
            'config that the student was distilled with.'
        )
    if not measures_fidelity(cfg):
        hook = ConfigDict(type=f'kd_plugins.{_FIDELITY}')
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), hook]


def _draw(cfg: Config, show: bool, folder: str | None, wait_time: float) -> None:
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise ConfigError(
            '--show and --show-dir need the visualization hook. Add to the config: '
            "default_hooks=dict(visualization=dict(type='...VisualizationHook'))."
        )
    hook.update(draw=True)
    if show:
        hook.update(show=True, wait_time=wait_time)
    if folder and _is_of(cfg, 'mmseg'):
        cfg.visualizer['save_dir'] = folder
    elif folder:
        hook.update(test_out_dir=folder)


def _check_out(cfg: Config, out: str) -> None:
    if _is_of(cfg, 'mmseg'):
        cfg.test_evaluator.update(output_dir=out, keep_results=True)
    elif not out.endswith(('.pkl', '.pickle')):
        raise ConfigError(f"--out must be a .pkl or .pickle file, got '{out}'.")


def _dump(runner: Runner, cfg: Config, out: str) -> None:
    kind = 'mmdet.DumpDetResults' if _is_of(cfg, 'mmdet') else None
    metric = METRICS.build({'type': kind or 'DumpResults', 'out_file_path': out})
    runner.test_evaluator.metrics.append(metric)


def _augment(cfg: Config) -> None:
    """Flip, where the config does not say how to augment; of detectors only."""
    if not _is_of(cfg, 'mmdet') and not {'tta_model', 'tta_pipeline'} <= set(
        cfg.keys()
    ):
        raise ConfigError(
            "--tta needs 'tta_model' and 'tta_pipeline' in the config, as the host's "
            'own configs have them.'
        )
    dataset = cfg.test_dataloader.dataset
    if 'tta_model' not in cfg:
        nms = {'type': 'nms', 'iou_threshold': 0.5}
        cfg.tta_model = {
            'type': 'DetTTAModel',
            'tta_cfg': {'nms': nms, 'max_per_img': 100},
        }
    cfg.tta_pipeline = augmented_pipeline(cfg, 'mmdet')
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline
