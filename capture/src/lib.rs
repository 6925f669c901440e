//! What users declared, and the reconciler that makes it so.
