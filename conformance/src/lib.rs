//! Scenario files, the arms that run them, and the comparison of what was observed.
