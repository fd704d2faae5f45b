from slimcap.flow.features cimport FeatureRules

cdef int set_features(
    FeatureRules* rules, object features, object splt, object first_bytes, bint has_tunnel) except -1
cdef object dtype_of(const FeatureRules* rules)
