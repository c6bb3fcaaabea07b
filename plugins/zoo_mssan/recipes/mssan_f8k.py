# MSSAN-style (a reconstruction from the abstract) on Flickr8k from stored features, ours: the
# setting in which all methods are compared. The features are those of chan-f8k's extractor, which
# stays as it is:
#   zoo extract DATA/images -o FEATURES --model chan-f8k
#   zoo train mssan-f8k --data DATA --features FEATURES --work-dir RUN
name = "mssan-f8k"
method = "mssan"
plugin = "mssan"
model = dict(
    image_encoder=dict(
        type="mssan_regions",
        feature_dim=1280,
        dim=256,
        region_drop=0.2,
        standardize=True,
        whole=True,
        fusion="fused",
        dropout=0.2,
    ),
    text_encoder=dict(
        type="mssan_words",
        reader=dict(
            type="bigru", word_dim=300, dim=256, word_drop=0.2, mask_token=True, dropout=0.2
        ),
        whole=True,
        fusion="fused",
        dropout=0.2,
    ),
    aligner=dict(type="symmetric_alignment", global_weight=1.0, local_weight=1.0, fused_weight=1.0),
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
# Without levels; and a triplet loss in place of the contrastive one, its margin static or adaptive.
ablations = {
    "local": {
        "model.image_encoder.whole": False,
        "model.image_encoder.fusion": "none",
        "model.text_encoder.whole": False,
        "model.text_encoder.fusion": "none",
        "model.aligner.global_weight": 0.0,
        "model.aligner.fused_weight": 0.0,
    },
    "without-MFFM": {
        "model.image_encoder.fusion": "none",
        "model.text_encoder.fusion": "none",
        "model.aligner.fused_weight": 0.0,
    },
    "triplet-static": {
        "loss": dict(
            type="adaptive_margin",
            rule="static",
            negatives="mix",
            average_weight=1.0,
            reduction="mean",
        ),
        "warm_up": dict(epochs=1, negatives="all"),
    },
    "triplet-adaptive": {
        "loss": dict(
            type="adaptive_margin",
            rule="semantic_ema",
            negatives="mix",
            average_weight=1.0,
            reduction="mean",
        ),
        "warm_up": dict(epochs=1, negatives="all", frozen=True),
    },
}
