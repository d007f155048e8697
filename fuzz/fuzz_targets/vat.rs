//! Records, acts, bodies, references, keys, shapes, ids in text.

#![no_main]

crankcase_fuzz::target!(crankcase_vat::fuzzing::DECODERS, crankcase_vat::fuzzing::run);
