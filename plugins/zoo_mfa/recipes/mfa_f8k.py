# MFA-style (a reconstruction from the abstract) on Flickr8k from stored features, ours: the
# setting in which all methods are compared. The features are those of chan-f8k's extractor, which
# stays as it is:
#   zoo extract DATA/images -o FEATURES --model chan-f8k
#   zoo train mfa-f8k --data DATA --features FEATURES --work-dir RUN
_base_ = "zoo:f8k-features"
name = "mfa-f8k"
method = "mfa"
plugin = "mfa"
model = dict(
    image_encoder=dict(
        type="mfa_regions",
        feature_dim=1280,
        dim=256,
        region_drop=0.2,
        standardize=True,
        scales=["words", "phrases", "relations"],
    ),
    text_encoder=dict(
        type="mfa_phrases",
        reader=dict(
            type="bigru", word_dim=300, dim=256, word_drop=0.2, mask_token=True, dropout=0.2
        ),
        scales=["words", "phrases", "relations"],
    ),
    aligner=dict(type="multi_scale_alignment", weights=dict(words=1, phrases=1, relations=1)),
)
loss = dict(temperature=0.15)  # of three levels that the score adds up
autocast = ["text_encoder.reader.rnn"]
# One scale after the other.
ablations = {
    "words": {
        "model.image_encoder.scales": ["words"],
        "model.text_encoder.scales": ["words"],
        "model.aligner.weights": dict(words=1),
    },
    "words+phrases": {
        "model.image_encoder.scales": ["words", "phrases"],
        "model.text_encoder.scales": ["words", "phrases"],
        "model.aligner.weights": dict(words=1, phrases=1),
    },
}
