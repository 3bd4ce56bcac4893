"""Every private name of the hosts that this package relies on, in one list.

Private is what begins with an underscore. Listed beside it are public names that are
used in a way their authors do not promise: replaced on an instance, assigned in a
module, found by their place in a pickle, or called by the names of their arguments.
A new version of a host is checked by ``tests/hosts/test_internals.py``, which looks up
every entry, and finds private names in the sources that are not listed here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Internal:
    """One such name.

    Args:
        name: dotted; of what an instance gets in its ``__init__``, below its class.
        used_in: files of this package.
        without: what breaks where it is missing or means something else.
        arguments: names of its first ones, where they are counted on.
        family: the one that has it, where the other does without.
    """

    name: str
    used_in: tuple[str, ...]
    without: str
    arguments: tuple[str, ...] = ()
    family: str | None = None


INTERNALS = (
    # Configurations
    Internal(
        'mmengine.config.DictAction._parse_iterable',
        ('benchmark/plan.py',),
        'A benchmark cannot tell which options the command line reads as they stand.',
    ),
    Internal(
        'mmengine.config.utils.MODULE2PACKAGE',
        ('hosts/config_scopes.py', 'config_files.py'),
        "Configs do not find 'kd_plugins::' and, of the maintained family, 'mmseg::'.",
    ),
    Internal(
        'mmengine.config.utils._get_package_and_cfg_path',
        ('config_files.py',),
        "A misspelt '<package>::<config>' is refused without the key that named it.",
        ('cfg_path',),
    ),
    Internal(
        'mmengine.config.Config._is_lazy_import',
        ('apis/distill_config.py',),
        'A distillation of a student in pure Python is written as a config that cannot '
        'be read.',
        ('filename',),
    ),
    Internal(
        'mmengine.utils.package_utils.call_command',
        ('hosts/config_scopes.py',),
        'A config of a package that is not installed has the original family '
        'installed over the maintained one.',
    ),
    Internal(
        'mmengine.config.config.ConfigDict',
        ('checkpoints/_unpickling.py',),
        'Checkpoints whose metainfo nests a dict are refused.',
    ),
    Internal(
        'mmengine.config.config.ConfigDict.__missing__',
        ('config_files.py',),
        'A misspelt {{_base_.<key>}} is a KeyError that does not name the config.',
        ('name',),
    ),
    Internal(
        'mmengine.utils.ManagerMixin._instance_dict',
        ('engine/isolation.py',),
        'Of several stages in one process, the later ones write into the logs of the '
        'first.',
    ),
    # The runner and its loops
    Internal(
        'mmengine.runner.Runner._resume',
        (
            'engine/runner.py',
            'engine/hooks/random_state.py',
            'engine/hooks/prune.py',
        ),
        'A resumed run starts from a broken file, draws other random numbers, and '
        'prunes again.',
    ),
    Internal(
        'mmengine.runner.Runner._load_from',
        ('engine/runner.py',),
        'A resumed run starts from a broken file.',
    ),
    Internal(
        'mmengine.runner.Runner._train_loop',
        ('engine/runner.py',),
        'Layers behind a frozen stem, once checkpointed, get no gradient.',
    ),
    Internal(
        'mmengine.runner.Runner._has_loaded',
        ('engine/runner.py',),
        'A run that is called twice is resumed twice.',
    ),
    Internal(
        'mmengine.runner.Runner.load_checkpoint',
        ('apis/test.py', 'apis/analyze.py'),
        'Replaced on a runner. Tests and analyses unpickle whatever a file holds, and '
        'take of its weights what fits.',
        ('filename',),
    ),
    Internal(
        'mmengine.runner.Runner.save_checkpoint',
        ('engine/runner.py',),
        'Checkpoints are not written atomically, and no student lies beside them.',
        ('out_dir', 'filename'),
    ),
    Internal(
        'mmengine.runner.IterBasedTrainLoop.run',
        ('apis/analyze.py', 'apis/price.py'),
        'Replaced on a loop. An analysis, or a dry run, trains the student.',
    ),
    Internal(
        'mmengine.runner.IterBasedTrainLoop.dataloader_iterator',
        ('engine/hooks/random_state.py',),
        'Replaced on a loop. A resumed run draws other random numbers.',
    ),
    Internal(
        'mmengine.runner.loops._InfiniteDataloaderIterator._ensure_iterator',
        ('engine/hooks/random_state.py',),
        'A resumed run draws other random numbers: the iterator is made anew, which '
        'draws once.',
        family='maintained',
    ),
    Internal(
        'mmengine.runner.IterBasedTrainLoop._decide_current_val_interval',
        ('engine/hooks/random_state.py',),
        'A validation that was due when a run was interrupted is left out.',
    ),
    Internal(
        'mmengine.runner.EpochBasedTrainLoop._decide_current_val_interval',
        ('engine/hooks/random_state.py',),
        'A validation that was due when a run was interrupted is left out.',
    ),
    Internal(
        'mmengine.runner.IterBasedTrainLoop._iter',
        ('apis/analyze.py',),
        'An analysis of a checkpoint weighs pairs as at the first iteration.',
    ),
    Internal(
        'mmengine.runner.IterBasedTrainLoop._epoch',
        ('apis/analyze.py',),
        'An analysis of a checkpoint weighs pairs as in the first epoch.',
    ),
    # Strategies
    Internal(
        'mmengine.runner.FlexibleRunner._resume',
        ('engine/flexible.py',),
        'A resumed run of a strategy starts from a broken file.',
    ),
    Internal(
        'mmengine.runner.FlexibleRunner._load_from',
        ('engine/flexible.py',),
        'A resumed run of a strategy starts from a broken file.',
    ),
    Internal(
        'mmengine.runner.FlexibleRunner._has_loaded',
        ('engine/flexible.py',),
        'A run of a strategy that is called twice is resumed twice.',
    ),
    Internal(
        'mmengine.runner.FlexibleRunner.save_checkpoint',
        ('engine/flexible.py',),
        'A run of a strategy resumes one iteration too late.',
        ('out_dir', 'filename'),
    ),
    Internal(
        'mmengine._strategy.DDPStrategy._setup_distributed',
        ('engine/strategies.py',),
        'Strategies start on GPUs only.',
        ('launcher',),
    ),
    Internal(
        'mmengine._strategy.DDPStrategy._wrap_model',
        ('engine/strategies.py',),
        "A critic lies in DDP's buckets, and CPUs are refused.",
        ('model',),
    ),
    Internal(
        'mmengine._strategy.FSDPStrategy._wrap_model',
        ('engine/strategies.py',),
        'Shards live on GPUs only.',
        ('model',),
    ),
    Internal(
        'mmengine._strategy.FSDPStrategy.optim_state_dict_config',
        ('engine/strategies.py',),
        'On CPUs all momenta of a parameter are saved as the last one gathered.',
    ),
    # Checkpoints
    Internal(
        'mmengine.hooks.CheckpointHook._save_checkpoint',
        ('engine/hooks/checkpoint.py',),
        'A checkpoint that was postponed to a whole optimiser step is not saved.',
        ('runner',),
    ),
    Internal(
        'mmengine.hooks.CheckpointHook._save_checkpoint_with_step',
        ('engine/hooks/checkpoint.py',),
        'Checkpoints are saved between two optimiser steps, without random states.',
        ('runner', 'step', 'meta'),
    ),
    Internal(
        'mmengine.hooks.CheckpointHook._save_best_checkpoint',
        ('engine/hooks/checkpoint.py',),
        'Of the best checkpoints, those that were replaced stay on disk.',
        ('runner', 'metrics'),
    ),
    Internal(
        'mmengine.hooks.CheckpointHook.file_backend',
        ('engine/hooks/checkpoint.py',),
        'Replaced on a hook. An old checkpoint is deleted before its successor is on '
        'disk.',
    ),
    Internal(
        'mmengine.logging.history_buffer.HistoryBuffer',
        ('checkpoints/_unpickling.py',),
        'Every checkpoint of a training is refused.',
    ),
    # Models and optimisers
    Internal(
        'mmengine.model.BaseModule._is_init',
        ('distillers/distiller.py',),
        'A module around the distiller initialises it a second time.',
    ),
    Internal(
        'mmengine.optim.OptimWrapper._clip_grad',
        ('engine/optimizer.py',),
        "Replaced on a wrapper. The adapters' gradients shrink the student's step, "
        'and with weights of 0 change its last bits.',
    ),
    Internal(
        'mmengine.model.ImgDataPreprocessor._enable_normalize',
        ('teachers/preprocess.py',),
        'The teacher sees images that are normalised for the student.',
    ),
    Internal(
        'mmengine.model.ImgDataPreprocessor._channel_conversion',
        ('teachers/preprocess.py',),
        'The teacher sees red and blue swapped.',
    ),
    Internal(
        'mmseg.models.SegDataPreProcessor.channel_conversion',
        ('teachers/preprocess.py',),
        'The teacher of a segmentor sees red and blue swapped.',
        family='original',
    ),
    # Models that are exported
    *(
        Internal(
            f'mmdet.models.{name}',
            ('deployment/families.py',),
            'A model that predicts in a way of its own is exported as if it did not.',
        )
        for name in (
            'dense_heads.base_dense_head.BaseDenseHead._bbox_post_process',
            'dense_heads.base_dense_head.BaseDenseHead._predict_by_feat_single',
            'dense_heads.GFLHead._predict_by_feat_single',
            'dense_heads.RPNHead._predict_by_feat_single',
            'roi_heads.bbox_heads.BBoxHead._predict_by_feat_single',
        )
    ),
    # Operators
    Internal(
        'mmcv._ext',
        ('hosts/extension.py',),
        'Replaced in sys.modules. mmcv.ops does not import where it is not compiled.',
    ),
    Internal(
        'mmcv.ops.multi_scale_deform_attn.multi_scale_deformable_attn_pytorch',
        ('hosts/deformable_attention.py',),
        'Without compiled operators deformable attention does not run on CUDA.',
        (
            'value',
            'value_spatial_shapes',
            'sampling_locations',
            'attention_weights',
        ),
    ),
    # Detectors
    Internal(
        'mmdet.models.roi_heads.StandardRoIHead._bbox_forward',
        (
            'views/roi/outputs.py',
            'benchmark/cost_stages.py',
            'deployment/families.py',
        ),
        "The teacher cannot score the student's RoIs.",
        ('x', 'rois'),
    ),
    Internal(
        'mmdet.models.roi_heads.CascadeRoIHead._bbox_forward',
        ('views/roi/outputs.py',),
        "A cascade cannot score the student's RoIs.",
        ('stage', 'x', 'rois'),
    ),
    Internal(
        'mmdet.models.roi_heads.StandardRoIHead._mask_forward',
        ('views/roi/masks.py',),
        "The teacher cannot draw masks of the student's RoIs.",
        ('x', 'rois'),
    ),
    Internal(
        'mmdet.models.roi_heads.CascadeRoIHead._mask_forward',
        ('views/roi/masks.py',),
        "A cascade cannot draw masks of the student's RoIs.",
        ('stage', 'x', 'rois'),
    ),
    Internal(
        'mmdet.models.roi_heads.StandardRoIHead.mask_loss',
        ('views/roi/masks.py',),
        "Replaced on a head. The student's mask logits are not recorded.",
        ('x', 'sampling_results'),
    ),
    Internal(
        'mmdet.models.roi_heads.CascadeRoIHead.mask_loss',
        ('views/roi/masks.py',),
        "Replaced on a head. A cascade's mask logits are not recorded.",
        ('stage', 'x', 'sampling_results'),
    ),
    Internal(
        'mmdet.models.roi_heads.bbox_heads.BBoxHead.loss_and_target',
        ('views/roi/outputs.py',),
        "Replaced on a head. The RoIs' labels and regression targets are not recorded.",
    ),
    Internal(
        'mmdet.models.roi_heads.bbox_heads.BBoxHead.get_targets',
        ('engine/hooks/box_weights.py',),
        'Replaced on a head. Boxes of the ground truth cannot be weighed.',
        ('sampling_results', 'rcnn_train_cfg', 'concat'),
    ),
    Internal(
        'mmdet.models.detectors.TwoStageDetector.extract_feat',
        ('views/peer_run.py',),
        'Replaced on a model. What a peer computes of the images in its step is not '
        'recorded, and others have nothing to learn from it. Of mmseg likewise.',
    ),
    Internal(
        'mmdet.models.dense_heads.RPNHead.get_targets',
        ('views/rpn/outputs.py',),
        'Replaced on a head. Which anchors were sampled is not recorded.',
        ('anchor_list',),
    ),
    Internal(
        'mmdet.models.dense_heads.AnchorHead.get_targets',
        ('views/dense/assignment.py',),
        "Replaced on a head. The anchors' labels and boxes are not recorded.",
    ),
    Internal(
        'mmdet.models.dense_heads.FCOSHead.get_targets',
        ('views/dense/assignment.py',),
        "Replaced on a head. The points' labels and boxes are not recorded.",
    ),
    Internal(
        'mmcv.cnn.ConvModule.forward',
        ('views/dense/crossing.py',),
        'Replaced on the convolutions of a head. CrossKD cannot send the '
        "student's features through the teacher's head.",
        ('x',),
    ),
    Internal(
        'mmdet.models.DeformableDETR.pre_transformer',
        ('views/transformer/encoder.py',),
        "Replaced on a detector. The shapes of the encoder's levels are not known.",
        ('mlvl_feats', 'batch_data_samples'),
    ),
    Internal(
        'mmdet.models.DeformableDETR.forward_encoder',
        ('views/transformer/encoder.py',),
        "Replaced on a detector. The encoder's memory is not recorded.",
    ),
    # Segmentors
    Internal(
        'mmseg.models.decode_heads.decode_head.BaseDecodeHead.loss_by_feat',
        ('views/seg/decode.py', 'engine/mixed_labels.py'),
        'Replaced on a head, which calls its own forward, past all hooks. The logits '
        'of a decode head are not recorded.',
        ('seg_logits', 'batch_data_samples'),
    ),
    Internal(
        'mmseg.models.decode_heads.decode_head.BaseDecodeHead.sampler',
        ('engine/mixed_labels.py',),
        'Replaced on a head. The pixels of mixed images cannot be weighed.',
    ),
    Internal(
        'mmseg.models.decode_heads.decode_head.BaseDecodeHead.cls_seg',
        ('views/seg/features.py',),
        'Replaced on a head. The feature that is classified is not recorded.',
        ('feat',),
    ),
    # torch and torchvision
    Internal(
        'torch.Tensor._version',
        ('recorders/recorder.py', 'views/layer/norms.py'),
        'A tensor that is written into after it was recorded is compared as it is '
        'afterwards.',
    ),
    Internal(
        'torch.nn.Module._modules',
        ('distillers/distiller.py',),
        "Attributes of the student are not found on the distiller, or its own aren't.",
    ),
    Internal(
        'torch.nn.Module._apply',
        ('distillers/distiller.py',),
        'A teacher, which is no child of the distiller, stays on the processor.',
        ('fn', 'recurse'),
    ),
    Internal(
        'torch.nn.Module._load_from_state_dict',
        ('distillers/distiller.py',),
        'A checkpoint of the student alone cannot be loaded into a distiller.',
        ('state_dict', 'prefix'),
    ),
    Internal(
        'torch.nn.Module.state_dict._metadata',
        (
            'distillers/distiller.py',
            'distillers/loading.py',
            'apis/export.py',
            'teachers/checkpoints.py',
        ),
        'Layers take weights for those of their oldest version: batch norms without '
        'their counter.',
    ),
    Internal(
        'torch.nn.parallel.DistributedDataParallel'
        '._set_params_and_buffers_to_ignore_for_model',
        ('engine/wrapper.py',),
        'A critic waits for gradients that do not come, on several processes.',
        ('module', 'params_and_buffers_to_ignore'),
    ),
    Internal(
        'torch._utils._rebuild_tensor',
        ('checkpoints/_unpickling.py',),
        'Old checkpoints are refused.',
    ),
    Internal(
        'torch._utils._rebuild_tensor_v2',
        ('checkpoints/_unpickling.py',),
        'All checkpoints are refused.',
    ),
    Internal(
        'torch._utils._rebuild_parameter',
        ('checkpoints/_unpickling.py',),
        'Checkpoints that hold parameters are refused.',
    ),
    Internal(
        'torch.nn.Conv2d._conv_forward',
        ('compression/quantization/layers.py',),
        'A quantised convolution cannot compute with the weights it has rounded.',
        ('input', 'weight', 'bias'),
    ),
    Internal(
        'torch.nn.Module._forward_pre_hooks',
        ('folding.py',),
        'A convolution of a fast teacher whose weight a hook computes is folded with '
        'an old one.',
    ),
    Internal(
        'torch.ops.mkldnn._reorder_convolution_weight',
        ('teachers/packed.py',),
        'A fast teacher on a CPU fails at its first batch, and the plain one runs.',
    ),
    Internal(
        'torch.ops.mkldnn._convolution_pointwise',
        ('teachers/packed.py',),
        'A fast teacher on a CPU fails at its first batch, and the plain one runs.',
    ),
    Internal(
        'torch.ops.mkldnn._is_mkldnn_bf16_supported',
        ('teachers/fast.py',),
        'On a CPU without AVX-512 a fast teacher in bfloat16 fails at its first batch.',
    ),
    Internal(
        'torch.ops.torchvision._roi_align_backward',
        ('hosts/operators.py',),
        'Without compiled operators two-stage detectors do not train.',
    ),
    Internal(
        'torch.ops.torchvision._deform_conv2d_backward',
        ('hosts/deformable_convolution.py',),
        'Without compiled operators deformable convolutions do not train.',
    ),
)
