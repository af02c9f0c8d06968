package proxy

// For the tests.
var (
	Brief  = brief
	InPlan = inPlan
)
