# SHAN on Flickr8k from stored features, ours: the
# setting in which all methods are compared. The features are those of chan-f8k's extractor, which
# stays as it is:
#   zoo extract DATA/images -o FEATURES --model chan-f8k
#   zoo train shan-f8k --data DATA --features FEATURES --work-dir RUN
_base_ = "zoo:f8k-features"
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
)
loss = dict(temperature=0.15)  # of three levels that the score adds up
autocast = ["text_encoder.reader.rnn"]
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
