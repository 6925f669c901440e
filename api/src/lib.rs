//! HTTP: Skydive's paths, ours, and the typed client.
