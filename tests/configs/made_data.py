"""Data sets of a few made images, laid out where the hosts' configs look for them."""

import json
from pathlib import Path

import cv2
import numpy as np
from mmdet.datasets import CocoDataset, VOCDataset

_HEIGHT, _WIDTH = 96, 160
_BOX = (20, 16, 110, 70)  # corners; large enough for the filter of PASCAL VOC


def make_coco(root: Path) -> None:
    """COCO 2017 in ``data/coco``: 4 images for training, 1 for validation."""
    folder = root / 'data' / 'coco'
    (folder / 'annotations').mkdir(parents=True)
    classes = CocoDataset.METAINFO['classes']
    left, top, right, bottom = _BOX
    for split, count in (('train2017', 4), ('val2017', 1)):
        images, boxes = [], []
        for number in range(count):
            file = f'{number:012d}.jpg'
            _draw(folder / split / file, number)
            images.append(dict(id=number, file_name=file, width=_WIDTH, height=_HEIGHT))
            boxes.append(
                dict(
                    id=number + 1,
                    image_id=number,
                    category_id=1,
                    bbox=[left, top, right - left, bottom - top],
                    segmentation=[[left, top, right, top, right, bottom, left, bottom]],
                    area=(right - left) * (bottom - top),
                    iscrowd=0,
                )
            )
        (folder / 'annotations' / f'instances_{split}.json').write_text(
            json.dumps(
                dict(
                    images=images,
                    annotations=boxes,
                    categories=[
                        dict(id=number + 1, name=name)
                        for number, name in enumerate(classes)
                    ],
                )
            )
        )


def make_voc(root: Path) -> None:
    """PASCAL VOC in ``data/VOCdevkit``: an image for each year and split."""
    for year in ('VOC2007', 'VOC2012'):
        folder = root / 'data' / 'VOCdevkit' / year
        for part in ('Annotations', 'ImageSets/Main'):
            (folder / part).mkdir(parents=True)
        for number, split in enumerate(('trainval', 'test')):
            file = f'{number:06d}'
            _draw(folder / 'JPEGImages' / f'{file}.jpg', number)
            (folder / 'Annotations' / f'{file}.xml').write_text(_xml())
            (folder / 'ImageSets' / 'Main' / f'{split}.txt').write_text(file)


def make_cityscapes(root: Path) -> None:
    """Cityscapes in ``data/cityscapes``: 4 images for training, 1 for validation."""
    folder = root / 'data' / 'cityscapes'
    for split, count in (('train', 4), ('val', 1)):
        for number in range(count):
            file = f'town/{number:06d}'
            _draw(folder / 'leftImg8bit' / split / f'{file}_leftImg8bit.png', number)
            _label(folder / 'gtFine' / split / f'{file}_gtFine_labelTrainIds.png', 19)


def make_ade20k(root: Path) -> None:
    """ADE20K in ``data/ade``: 4 images for training, 1 for validation."""
    folder = root / 'data' / 'ade' / 'ADEChallengeData2016'
    for split, count in (('training', 4), ('validation', 1)):
        for number in range(count):
            _draw(folder / 'images' / split / f'{number:06d}.jpg', number)
            _label(folder / 'annotations' / split / f'{number:06d}.png', 151)


def make_bccd(root: Path) -> None:
    """BCCD in ``data/bccd``: 4 images for training, 1 for validation, 1 for testing."""
    folder = root / 'data' / 'bccd'
    (folder / 'annotations').mkdir(parents=True)
    left, top, right, bottom = _BOX
    for split, count in (('train', 4), ('val', 1), ('test', 1)):
        images, boxes = [], []
        for number in range(count):
            file = f'{split}_{number}.jpg'
            _draw(folder / 'images' / file, number)
            images.append(dict(id=number, file_name=file, width=_WIDTH, height=_HEIGHT))
            box = [left, top, right - left, bottom - top]
            boxes.append(
                dict(
                    id=number,
                    image_id=number,
                    category_id=number % 3,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=0,
                )
            )
        names = enumerate(('RBC', 'WBC', 'Platelets'))
        categories = [dict(id=number, name=name) for number, name in names]
        (folder / 'annotations' / f'{split}.json').write_text(
            json.dumps(dict(images=images, annotations=boxes, categories=categories))
        )


def make_camvid(root: Path) -> None:
    """A user's own data, as CamVid: 4 images for training, 1 for validation, 1 else."""
    folder = root / 'data' / 'camvid'
    for split, count in (('train', 4), ('val', 1), ('test', 1)):
        for number in range(count):
            _draw(folder / split / f'{number:06d}.png', number)
            _label(folder / f'{split}annot' / f'{number:06d}.png', 11)


def make_nyu(root: Path) -> None:
    """NYU Depth V2 in ``data/nyu``: 4 images for training, 1 for validation."""
    folder = root / 'data' / 'nyu'
    depth = np.linspace(500, 9500, _HEIGHT * _WIDTH).reshape(_HEIGHT, _WIDTH)
    left, top, right, bottom = _BOX
    depth[top:bottom, left:right] = 0  # not measured
    for split, count in (('train', 4), ('test', 1)):
        (folder / 'annotations' / split).mkdir(parents=True)
        for number in range(count):
            file = f'office_{number:05d}'
            _draw(folder / 'images' / split / f'{file}.jpg', number)
            path = folder / 'annotations' / split / f'{file}.png'
            cv2.imwrite(str(path), depth.astype(np.uint16))


def _label(path: Path, classes: int) -> None:
    """Stripes of all classes, and a box that is ignored."""
    label = np.tile(np.arange(_WIDTH) % classes, (_HEIGHT, 1)).astype(np.uint8)
    left, top, right, bottom = _BOX
    label[top:bottom, left:right] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), label)


def _xml() -> str:
    corners = ''.join(
        f'<{key}>{value}</{key}>'
        for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), _BOX, strict=True)
    )
    return (
        f'<annotation><size><width>{_WIDTH}</width><height>{_HEIGHT}</height></size>'
        f'<object><name>{VOCDataset.METAINFO["classes"][0]}</name>'
        f'<difficult>0</difficult><bndbox>{corners}</bndbox></object></annotation>'
    )


def _draw(path: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    left, top, right, bottom = _BOX
    image[top:bottom, left:right] //= 3
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
