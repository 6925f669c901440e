//! Skydive's query language: text to plan to answer.
