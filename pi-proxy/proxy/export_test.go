package proxy

import (
	"time"

	"sentinel.home.arpa/shared/wire"
)

// For the tests.
var (
	Brief  = brief
	InPlan = inPlan
)

// Answers orders the answers of brains.
type Answers struct{ newest }

func (a *Answers) Overtaken(h wire.Header, now time.Duration) bool { return a.overtaken(h, now) }
