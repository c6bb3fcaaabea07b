# MSSAN-style (a reconstruction from the abstract) on Flickr8k from stored features, ours: the
# setting in which all methods are compared. The features are those of chan-f8k's extractor, which
# stays as it is:
#   zoo extract DATA/images -o FEATURES --model chan-f8k
#   zoo train mssan-f8k --data DATA --features FEATURES --work-dir RUN
_base_ = "zoo:f8k-features"
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
)
loss = dict(temperature=0.15)  # of three levels that the score adds up
autocast = ["text_encoder.reader.rnn"]
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
