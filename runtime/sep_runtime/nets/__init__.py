"""The networks, written from facts; their state-dict keys are the contract with published weights."""
