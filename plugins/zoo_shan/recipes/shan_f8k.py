# SHAN on Flickr8k from stored features, ours: the
# setting in which all methods are compared. The features are those of chan-f8k's extractor, which
# stays as it is:
#   zoo extract DATA/images -o FEATURES --model chan-f8k
#   zoo train shan-f8k --data DATA --features FEATURES --work-dir RUN
name = "shan-f8k"
method = "shan"
plugin = "shan"
model = dict(
    image_encoder=dict(
        type="shan_regions",
        feature_dim=1280,
        dim=256,
        region_drop=0.2,
        standardize=True,
        direction="both",
        level="global_global",
    ),
    text_encoder=dict(
        type="shan_words",
        reader=dict(
            type="bigru", word_dim=300, dim=256, word_drop=0.2, mask_token=True, dropout=0.2
        ),
        direction="both",
        level="global_global",
    ),
    aligner=dict(type="stepwise_alignment", dim=256, direction="both", level="global_global"),
    extractor=dict(type="grid", backbone="mobilenet_edgetpu_075"),
    features=dict(kind="grid", regions=36, dim=1280),
    scoring=dict(image_block=128, text_block=512),
)
vocabulary = dict(minimum_count=4)
initial_weights = dict(extractor="chan-f8k")
# In all these recipes the temperature begins at 0.05 for each level that the score adds up: 3 here.
loss = dict(type="contrastive", temperature=0.15, learnable=True)
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
autocast = ["text_encoder.reader.rnn"]
export = dict(half=True)
seed = 2022
# One step after the other.
ablations = {
    "local-local": {
        "model.image_encoder.level": "local_local",
        "model.text_encoder.level": "local_local",
        "model.aligner.level": "local_local",
    },
    "local-local+global-local": {
        "model.image_encoder.level": "global_local",
        "model.text_encoder.level": "global_local",
        "model.aligner.level": "global_local",
    },
}
