# Batch knowledge ensembling of RoIs, no teacher, on batches in which each image has
# another one of a class with it; on digits in photographs.
# Ge et al. 2021, arXiv:2104.13298
# Run:    python tools/train.py \
#     configs/bake/bake-logits-sampled_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
# The same on batches at random:  python tools/train.py \
#     configs/bake/bake-logits_frcnn-w16_1k_digits-300.py
_base_ = ['./bake-logits_frcnn-w16_1k_digits-300.py']
# The host's own: of one class after the other, two images at random. In the paper an
# image and M others of its class, M = 1 for ImageNet.
train_dataloader = dict(
    sampler=dict(_delete_=True, type='ClassAwareSampler', num_sample_class=2))
