//! Groups, the identity, the witness, the checkpoint's row, log files.

#![no_main]

crankcase_fuzz::target!(crankcase_journal::fuzzing::DECODERS, crankcase_journal::fuzzing::run);
