package brain

import (
	"fmt"
	"time"

	"sentinel.home.arpa/shared/config"
)

// limit is what a key may be set to. The check and the documentation go by the same ones.
type limit struct {
	key   string // such as failure.silence, or plan[].deadline
	words string // such as 5s to 10m
	check func(f *config.File, c *Config) []error
}

// limits are all of them.
func limits() []limit {
	const week = config.Duration(7 * 24 * time.Hour)
	s, m, h := config.Duration(time.Second), config.Duration(time.Minute), config.Duration(time.Hour)
	return []limit{
		within("tailnet.udp_port", 0, 65535, func(c *Config) uint16 { return c.Tailnet.Port }),
		// Well over cause.Together, or those who speak would count as silent too.
		within("failure.silence", 10*s, 10*m, func(c *Config) config.Duration { return c.Failure.Silence }),
		within("failure.window", m, 24*h, func(c *Config) config.Duration { return c.Failure.Window }),
		within("failure.threshold", 1, 1000, func(c *Config) int { return c.Failure.Threshold }),
		within("failure.reminder", 5*m, 24*h, func(c *Config) config.Duration { return c.Failure.Reminder }),
		within("failure.remind_for", 0, week, func(c *Config) config.Duration { return c.Failure.RemindFor }),
		within("failure.pending_notice", m, 24*h, func(c *Config) config.Duration { return c.Failure.PendingNotice }),
		within("power.notice_after", 0, 10*m, func(c *Config) config.Duration { return c.Power.NoticeAfter }),
		within("power.ride_through", 0, 30*m, func(c *Config) config.Duration { return c.Power.RideThrough }),
		within("power.call_by", 0, 10*m, func(c *Config) config.Duration { return c.Power.CallBy }),
		within("power.runtime_margin", 0, h, func(c *Config) config.Duration { return c.Power.RuntimeMargin }),
		within("power.charge_floor", 0, 100, func(c *Config) config.Percent { return c.Power.ChargeFloor }),
		within("power.worse_charge", 0, 100, func(c *Config) config.Percent { return c.Power.WorseCharge }),
		within("power.worse_runtime", 0, h, func(c *Config) config.Duration { return c.Power.WorseRuntime }),
		within("internet.call_after", 0, h, func(c *Config) config.Duration { return c.Internet.CallAfter }),
		within("internet.plan_after", m, 24*h, func(c *Config) config.Duration { return c.Internet.PlanAfter }),
		{"calls.self_test", "0s, or " + words(h, week), func(f *config.File, c *Config) []error {
			if c.Calls.SelfTest == 0 {
				return nil
			}
			return []error{config.Bound(f, "calls.self_test", c.Calls.SelfTest, h, week)}
		}},
		within("calls.price", 0.001, 100, func(c *Config) float64 { return c.Calls.Price }),
		within("calls.few", 0, 1000, func(c *Config) int { return c.Calls.Few }),
		within("calls.per_hour", 1, 60, func(c *Config) int { return c.Calls.PerHour }),
		within("calls.other_per_hour", 1, 60, func(c *Config) int { return c.Calls.OtherPerHour }),
		within("notices.per_hour", 5, 1000, func(c *Config) int { return c.Notices.PerHour }),
		{"contacts[].notices[].repeat", words(5*m, 24*h), func(f *config.File, c *Config) (errs []error) {
			for i, p := range c.Contacts {
				for j, n := range p.Notices {
					if n.Repeat != 0 {
						errs = append(errs, config.Bound(f, channelKey(i, j, "repeat"), n.Repeat, 5*m, 24*h))
					}
				}
			}
			return errs
		}},
		within("deadman.every", 10*s, h, func(c *Config) config.Duration { return c.Deadman.Every }),
		within("journal.keep", week, 3650*24*h, func(c *Config) config.Duration { return c.Journal.Keep }),
		{"plan[].timeout", words(5*s, 2*h), func(f *config.File, c *Config) (errs []error) {
			for i, stage := range c.Plan {
				if stage.Timeout != 0 {
					errs = append(errs, config.Bound(f, fmt.Sprintf("plan[%d].timeout", i), stage.Timeout, 5*s, 2*h))
				}
			}
			return errs
		}},
		{"plan[].deadline", words(10*s, 2*h), func(f *config.File, c *Config) (errs []error) {
			for i, stage := range c.Plan {
				errs = append(errs, config.Bound(f, fmt.Sprintf("plan[%d].deadline", i), stage.Deadline, 10*s, 2*h))
			}
			return errs
		}},
	}
}

func within[T config.Bounded](key string, low, high T, of func(c *Config) T) limit {
	return limit{key, words(low, high), func(f *config.File, c *Config) []error {
		return []error{config.Bound(f, key, of(c), low, high)}
	}}
}

func words[T any](low, high T) string { return fmt.Sprintf("%v to %v", low, high) }
