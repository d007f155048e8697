//! The rows of the tables and their keys.

#![no_main]

crankcase_fuzz::target!(crankcase::fuzzing::DECODERS, crankcase::fuzzing::run);
