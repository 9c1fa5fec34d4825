"""The builder of the catalog: torch's wheels in, the files of `data/` out."""
