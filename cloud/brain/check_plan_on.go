package brain

import (
	"fmt"
	"slices"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/shutdown"
)

// planOn reports whether a cause begins the plan beside the power (rule S0).
func (c *Config) planOn(cause shutdown.Cause) bool { return slices.Contains(c.PlanOn, string(cause)) }

// checkPlanOn is about what begins the plan beside the power.
func (c *Config) checkPlanOn(f *config.File) []error {
	var errs []error
	if len(c.PlanOn) > 0 && len(c.Plan) == 0 && !f.Spoilt("plan") {
		errs = append(errs, f.Errorf("plan_on", "there is no plan that could begin; add plan:, or remove plan_on:"))
	}
	for i, on := range c.PlanOn {
		at := fmt.Sprintf("plan_on[%d]", i)
		switch {
		case on != string(shutdown.ForFailure) && on != string(shutdown.ForInternet):
			errs = append(errs, f.Errorf(at, "%.80q begins no plan; write node_failure or internet_outage; the power always does", on))
		case slices.Contains(c.PlanOn[:i], on):
			errs = append(errs, f.Errorf(at, "%s stands here for the second time", on))
		case on == string(shutdown.ForInternet) && len(c.Sites) > 0 && len(c.Sites[0].Pis) == 0 && !f.Spoilt("sites"):
			errs = append(errs, f.Errorf(at, "a Pi begins the plan when the internet is out, and %s has none; add one to pi_proxies:, or remove this", c.Sites[0].Name))
		}
	}
	return errs
}
