"""The field's metrics in numpy: rankings as trec_eval counts them, the others as scikit-learn and scipy do."""
