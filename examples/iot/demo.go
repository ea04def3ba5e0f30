package main

import (
	"encoding/json"
	"strings"
	"time"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// demo is half an hour of three devices, one reading a minute of each: the
// cellar is silent from 12:05 to 12:19, the oven is too hot from 12:08 to 12:19.
func demo() string {
	var lines strings.Builder
	enc := json.NewEncoder(&lines)
	for minute := range 30 {
		at := noon.Add(time.Duration(minute) * time.Minute)
		send := func(device string, celsius float64) {
			if err := enc.Encode(Reading{Device: device, At: at, Celsius: celsius}); err != nil {
				panic(err) // neither a strings.Builder nor a Reading's JSON fails
			}
		}
		if minute < 5 || minute >= 20 {
			send("cellar", 8+float64(minute%3)/4)
		}
		if minute >= 8 && minute < 20 {
			send("oven", 95)
		} else {
			send("oven", 60)
		}
		send("roof", 15+float64(minute)/10)
	}
	return lines.String()
}
