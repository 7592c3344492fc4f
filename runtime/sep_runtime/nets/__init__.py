"""The networks, written from facts; state-dict keys are the contract with published weights."""
