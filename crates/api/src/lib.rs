//! The HTTP interface: one file per resource, extractors, problems, OpenAPI.
