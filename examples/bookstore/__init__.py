"""The bookstore: four small HTTP and TCP programs, their manifests, load clients and a demo."""
