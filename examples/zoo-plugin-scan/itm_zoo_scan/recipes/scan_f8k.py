# SCAN on Flickr8k from stored features, ours: the setting in which the zoo's methods are compared.
# The features are those of chan-f8k's extractor, which stays as it is:
#   zoo extract DATA/images -o FEATURES --model chan-f8k
#   zoo train scan-f8k --data DATA --features FEATURES --work-dir RUN
_base_ = "zoo:f8k-features"
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
)
autocast = ["text_encoder.rnn"]
ablations = {
    "regions-attend": {"model.aligner.direction": "i2t", "model.aligner.sharpness": 4.0},
    "log-sum-exp": {"model.aligner.pooling": "lse"},
}
