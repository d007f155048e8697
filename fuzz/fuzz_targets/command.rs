//! What the command reads: addresses, tables, its own words.

#![no_main]

crankcase_fuzz::target!(crankcase_cli::fuzzing::DECODERS, crankcase_cli::fuzzing::run);
