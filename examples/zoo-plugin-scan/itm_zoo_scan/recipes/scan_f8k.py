# SCAN on Flickr8k from stored features, ours: the setting in which the zoo's methods are compared.
# The features are those of chan-f8k's extractor, which stays as it is:
#   zoo extract DATA/images -o FEATURES --model chan-f8k
#   zoo train scan-f8k --data DATA --features FEATURES --work-dir RUN
name = "scan-f8k"
method = "scan"
plugin = "scan"
model = dict(
    image_encoder=dict(
        type="regions", feature_dim=1280, dim=256, region_drop=0.2, standardize=True
    ),
    text_encoder=dict(
        type="bigru", word_dim=300, dim=256, word_drop=0.2, mask_token=True, dropout=0.2
    ),
    aligner=dict(
        type="stacked_attention",
        direction="t2i",
        pooling="mean",
        sharpness=9.0,
        pooling_sharpness=6.0,
        leak=0.1,
    ),
    extractor=dict(type="grid", backbone="mobilenet_edgetpu_075"),
    features=dict(kind="grid", regions=36, dim=1280),
    scoring=dict(image_block=128, text_block=512),
)
vocabulary = dict(minimum_count=4)
initial_weights = dict(extractor="chan-f8k")
# As in the zoo's recipes for this setting, the temperature begins at 0.05 for the one level.
loss = dict(type="contrastive", temperature=0.05, learnable=True)
data = dict(
    inputs="features",
    by="image",
    captions_per_image=2,
    batch_size=64,
    workers=0,
    train="train",
    dev="dev",
)
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=1.5e-3, betas=(0.9, 0.98), weight_decay=1e-4),
    clip_grad=dict(max_norm=2.0),
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type="LinearLR", by_epoch=False, start_factor=0.01, begin=0, end=93),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=93, end=558, T_max=465, eta_min=0.0),
]
train_cfg = dict(max_epochs=6, val_interval=6)
average = dict(momentum=0.995)
autocast = ["text_encoder.rnn"]
export = dict(half=True)
seed = 2022
ablations = {
    "regions-attend": {"model.aligner.direction": "i2t", "model.aligner.sharpness": 4.0},
    "log-sum-exp": {"model.aligner.pooling": "lse"},
}
