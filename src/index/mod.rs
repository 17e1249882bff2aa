//! Where blocks lie: a coarse cache on sled, rebuilt from the files whenever it is missing or wrong.
