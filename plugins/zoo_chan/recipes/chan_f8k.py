# CHAN on Flickr8k from photographs, ours: the paper has no Flickr8k model. The backbone starts from
# ImageNet weights and its depthwise stages learn; README.md beside this folder says what was tried.
name = "chan-f8k"
method = "chan"
plugin = "chan"
model = dict(
    image_encoder=dict(
        type="chan_regions", feature_dim=1280, dim=512, context="basic", standardize=True
    ),
    text_encoder=dict(
        type="bigru", word_dim=300, dim=512, word_drop=0.2, mask_token=True, dropout=0.2
    ),
    aligner=dict(type="hard_alignment", coding="vha", pooling="mean"),
    extractor=dict(
        type="grid",
        backbone="mobilenet_edgetpu_075",
        trainable_from="stage3",
        flip=0.5,
        crop_scale=[0.6, 1.0],
    ),
    features=dict(kind="grid", regions=36, dim=1280),
    scoring=dict(image_block=128, text_block=512),
)
vocabulary = dict(minimum_count=4)
initial_weights = dict(extractor="mobilenet_edgetpu_075_224.npz")
loss = dict(type="contrastive", temperature=0.05, learnable=True)
data = dict(
    inputs="photos",
    by="image",
    captions_per_image=2,
    batch_size=128,
    workers=2,
    train="train",
    dev="dev",
)
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=2e-3, betas=(0.9, 0.98), weight_decay=1e-4),
    clip_grad=dict(max_norm=2.0),
    paramwise_cfg=dict(extractor=dict(lr_mult=0.15), flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type="LinearLR", by_epoch=False, start_factor=0.01, begin=0, end=55),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=55, end=1104, T_max=1049, eta_min=0.0),
]
train_cfg = dict(max_epochs=24, val_interval=6)
average = dict(momentum=0.995)
autocast = [
    "extractor.backbone.stem",
    "extractor.backbone.stage1",
    "extractor.backbone.stage2",
    "text_encoder.rnn",
]
export = dict(half=True)
seed = 2022
