"""The configs by task, model and method, from their names and headers alone.

Writes configs/README.md below its first part, the metafile of each method and
model-index.yml::

    python -m tests.configs.index

tests/configs/test_index.py compares them with what this would write.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from kd_plugins import losses, target_transforms
from tests.configs.tree import (
    CONFIGS,
    FILES,
    FIRST_STAGES,
    MAIN_JOBS,
    ROOT,
    header,
    name,
)

README = CONFIGS / 'README.md'
MODEL_INDEX = ROOT / 'model-index.yml'
FIRST_GENERATED = '## By task\n'
COMMENT = '# mim reads this file, and mmengine where a config is kd_plugins::<path>.\n'
DETECTION = 'Object Detection'
# Kind of a model, as configs are named: what it is, and of what task.
MODELS = {
    'frcnn': ('Faster R-CNN', DETECTION),
    'faster-rcnn': ('Faster R-CNN', DETECTION),
    'cascade': ('Cascade R-CNN', DETECTION),
    'mask': ('Mask R-CNN', 'Instance Segmentation'),
    'retina': ('RetinaNet', DETECTION),
    'fcos': ('FCOS', DETECTION),
    'atss': ('ATSS', DETECTION),
    'gfl': ('GFL', DETECTION),
    'rtmdet': ('RTMDet', DETECTION),
    'dino': ('DINO', DETECTION),
    'psp': ('PSPNet', 'Semantic Segmentation'),
    'pspnet': ('PSPNet', 'Semantic Segmentation'),
    'dl3': ('DeepLabV3', 'Semantic Segmentation'),
    'segformer': ('SegFormer', 'Semantic Segmentation'),
    'depth': ('Depth estimator', 'Depth Estimation'),
}
BACKBONES = {'mv2': 'MobileNetV2', 'swin-s': 'Swin-S', 'swin-l': 'Swin-L'}
DATA = {
    'digits': 'Digits in photographs',
    'mosaics': 'Mosaics of photographs',
    'planes': 'Planes in haze',
    'coco': 'COCO',
    'voc0712': 'PASCAL VOC',
    'bccd': 'BCCD',
    'cityscapes': 'Cityscapes',
    'ade20k': 'ADE20K',
    'camvid': 'CamVid',
    'nyu': 'NYU Depth V2',
}
METRICS = {'mAP': 'box AP', 'mIoU': 'mIoU', 'RMSE': 'RMSE'}
COLLECTIONS = {'auto': 'Pairs by what both models are', 'chen2017': 'Chen et al. 2017'}
COLLECTIONS |= {'skd': 'SKD', 'takd': 'TAKD', 'camkd': 'CA-MKD', 'rco': 'RCO'}
COLLECTIONS |= {'mtpd': 'MTPD', 'eskd': 'ESKD', 'ban': 'BAN'}
COLLECTIONS |= {'gd': 'Generalized distillation', 'mixkd': 'MIX-KD'}
COLLECTIONS['pseudolabel'] = 'Pseudo-labels'
COLLECTIONS |= {
    'qad': 'QAD',
    'apprentice': 'Apprentice',
    'polino2018': 'Polino et al. 2018',
}
COLLECTIONS |= {'prue': 'PrUE', 'prunedistill': 'Prune, then distill'}
COLLECTIONS['pruned'] = 'Pruned students'
COLLECTIONS |= {'dml': 'DML', 'switokd': 'SwitOKD', 'sokd': 'SOKD'}
# What the names of the main jobs would be.
LONG_NAMES = {
    'frcnn_kd': 'chen2017-full-no-adapter_frcnn-w32_frcnn-w16_1k_digits-300',
    'seg_skd': 'skd-full_psp-w24_psp-w6_1500it_mosaics-300',
}


@dataclass(frozen=True)
class Entry:
    """What the name and the header of a config say.

    Attributes:
        path: of the config.
        method: folder of its method; '' for a student or teacher alone.
        teacher: '' where there is none.
        student: '' of a first stage, which trains masks on a teacher.
        schedule: '1x', '40k', '1500it'.
        data: with crop and number of labels, as in the name.
    """

    path: Path
    method: str
    teacher: str
    student: str
    schedule: str
    data: str

    @property
    def title(self) -> str:
        """What tells it from its neighbours: method and pairs, or its own name."""
        if self.path in MAIN_JOBS:
            return self.path.name
        return self.path.stem.partition('_')[0] if self.method else self.path.stem

    @property
    def task(self) -> str:
        """Of OpenMMLab's names of tasks, that of the model that is trained."""
        return MODELS[kind(self.student or self.teacher)][1]

    @property
    def dataset(self) -> str:
        """Name of the data."""
        return DATA[self.data.partition('-')[0]]

    @property
    def result(self) -> tuple[str, str] | None:
        """Score, with its deviation where there are several seeds, and metric."""
        text = re.sub(r'\n# ?', ' ', header(self.path))
        cost = r'Cost and result: \d+ minutes on [\w ]+; '
        score = re.search(rf'{cost}([\d.]+(?: ± [\d.]+)?) (\w+)', text)
        return (score[1], score[2]) if score else None

    @property
    def link(self) -> str:
        """To the config, from configs/README.md."""
        return f'[`{self.title}`]({name(self.path)})'


def kind(model: str) -> str:
    """The kind of a model as a config's name writes it: 'frcnn' of 'frcnn-r50'."""
    longest_first = sorted(MODELS, key=len, reverse=True)
    return next(each for each in longest_first if model.startswith(each))


def spelt(model: str) -> str:
    """'Faster R-CNN R50' of 'frcnn-r50', '' of ''."""
    if not model:
        return ''
    backbone = model.removeprefix(kind(model)).lstrip('-_')
    if re.match(r'[rb]\d', backbone):  # R50, B4
        backbone = backbone.upper()
    return f'{MODELS[kind(model)][0]} {BACKBONES.get(backbone, backbone)}'


def entry(path: Path) -> Entry:
    """Of the config of a distillation, its first stage, or a model alone."""
    words = LONG_NAMES.get(path.stem, path.stem).split('_')
    *models, schedule, data = words[1:]
    if not (path in MAIN_JOBS or (path.parent / 'README.md').is_file()):
        return Entry(path, '', '', f'{words[0]}-{models[0]}', schedule, data)
    method = words[0].partition('-')[0]
    teacher, student = models if len(models) == 2 else ('', models[0])
    if path in FIRST_STAGES:
        teacher, student = student, ''
    return Entry(path, method, teacher, student, schedule, data)


PROTOCOLS = [path for path in FILES if path.parent.name == 'benchmarks']
ENTRIES = [entry(path) for path in FILES if path not in PROTOCOLS]
DISTILLATIONS = sorted(
    (each for each in ENTRIES if each.method),
    key=lambda each: (each.method, each.path not in MAIN_JOBS, each.path),
)
ALONE = [each for each in ENTRIES if not each.method]
METHODS = sorted({each.method for each in DISTILLATIONS})


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a table in Markdown."""
    for row in (columns, ['---'] * len(columns), *rows):
        yield f'| {" | ".join(row)} |'
    yield ''


def grouped(
    entries: Iterable[Entry], key: Callable[[Entry], tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], list[Entry]]]:
    for names, group in groupby(sorted(entries, key=key), key=key):
        yield names, list(group)


def by_task() -> Iterator[Sequence[str]]:
    for (task, dataset), group in grouped(
        ENTRIES, lambda each: (each.task, each.dataset)
    ):
        methods = sorted({each.method for each in group if each.method})
        alone = [each.link for each in group if not each.method]
        folders = ', '.join(f'[{method}]({method})' for method in methods)
        yield task, dataset, folders, ', '.join(alone)


def by_model() -> Iterator[Sequence[str]]:
    def key(each: Entry) -> tuple[str, ...]:
        return spelt(each.student), spelt(each.teacher), each.dataset, each.schedule

    for (student, teacher, dataset, schedule), group in grouped(
        (each for each in DISTILLATIONS if each.student), key
    ):
        links = ', '.join(each.link for each in group)
        yield student, teacher, f'{dataset}, {schedule}', links


def by_method() -> Iterator[Sequence[str]]:
    for method, group in groupby(DISTILLATIONS, lambda each: each.method):
        for number, each in enumerate(group):
            yield (
                '' if number else f'[{method}]({method})',
                each.link,
                spelt(each.teacher),
                spelt(each.student),
                f'{each.data}, {each.schedule}',
                score_of(each),
            )


def score_of(each: Entry) -> str:
    return ' '.join(each.result) if each.result else 'not run yet'


def begin_of_protocol(path: Path) -> str:
    """What the header says first."""
    return re.split(r'[.:] ', header(path).replace('\n#', ''))[0].removeprefix('# ')


def index() -> str:
    """What follows the first part of configs/README.md."""
    alone = (
        (each.link, f'{each.dataset}, {each.schedule}', score_of(each))
        for each in ALONE
    )
    protocols = (
        (f'[`{path.stem}`]({name(path)})', begin_of_protocol(path))
        for path in PROTOCOLS
    )
    models = ('Method', 'Config', 'Teacher', 'Student', 'Data, schedule', 'Our result')
    return '\n'.join(
        [
            FIRST_GENERATED,
            *table(('Task', 'Data', 'Methods', 'Models alone'), by_task()),
            '## By model\n',
            *table(('Student', 'Teacher', 'Data, schedule', 'Configs'), by_model()),
            '## By method\n',
            *table(models, by_method()),
            'Students and teachers alone:\n',
            *table(('Config', 'Data, schedule', 'Our result'), alone),
            'Protocols of `tools/benchmark.py`:\n',
            *table(('Config', 'What it compares'), protocols),
        ]
    )


def metafile(method: str) -> dict[str, Any]:
    """The metafile of a method's folder, in OpenMMLab's format."""
    entries = [each for each in DISTILLATIONS if each.method == method]
    readme = (CONFIGS / method / 'README.md').read_text()
    paper = re.search(r'\[Paper\]\((\S+)\)', readme)
    collection: dict[str, Any] = {
        'Name': collection_name(method),
        'Metadata': {
            'Training Data': sorted({each.dataset for each in entries}),
            'Training Techniques': ['Knowledge Distillation'],
        },
        'README': f'configs/{method}/README.md',
        'Frameworks': ['PyTorch'],
    }
    if paper:
        collection['Paper'] = {'Title': readme.splitlines()[0][2:], 'URL': paper[1]}
    return {'Collections': [collection], 'Models': [model(each) for each in entries]}


def model(each: Entry) -> dict[str, Any]:
    """Of a metafile: a config, and what was measured of it."""
    models = {'Teacher': spelt(each.teacher), 'Student': spelt(each.student)}
    described: dict[str, Any] = {
        'Name': each.path.stem,
        'In Collection': collection_name(each.method),
        'Config': f'configs/{name(each.path)}',
        'Metadata': {
            'Training Data': each.dataset,
            **{side: text for side, text in models.items() if text},
        },
    }
    if each.result:
        score, metric = each.result
        result = {'Task': each.task, 'Dataset': each.dataset}
        metrics = {METRICS[metric]: float(score.partition(' ')[0])}
        described['Results'] = [{**result, 'Metrics': metrics}]
    return described


def collection_name(method: str) -> str:
    """As the loss, or target transform, is spelt: 'CrossKD' of 'crosskd'."""
    kinds = [*losses.__all__, *target_transforms.__all__]
    spelt = [re.sub(r'(Loss|Transform)$', '', kind) for kind in kinds]
    by_folder = {each.lower(): each for each in spelt}
    return COLLECTIONS.get(method) or by_folder[method]


def model_index() -> dict[str, Any]:
    """What mim and mmengine read."""
    return {'Import': [f'configs/{method}/metafile.yml' for method in METHODS]}


class _Indented(yaml.SafeDumper):
    """Lists stand below their key, indented, as in the hosts' metafiles."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def in_yaml(content: Mapping[str, Any]) -> str:
    text = yaml.dump(
        content, Dumper=_Indented, sort_keys=False, allow_unicode=True, width=1000
    )
    return text.replace('\nModels:', '\n\nModels:')


def files() -> dict[Path, str]:
    """All that is written, and what it is to hold."""
    first = README.read_text().partition(FIRST_GENERATED)[0]
    return {
        README: first + index(),
        MODEL_INDEX: COMMENT + in_yaml(model_index()),
        **{
            CONFIGS / each / 'metafile.yml': in_yaml(metafile(each)) for each in METHODS
        },
    }


if __name__ == '__main__':
    for path, text in files().items():
        path.write_text(text)
