# Counts the members of the segments of cdnow.yaml at the end of the day `end`
# (YYYYMMDD) from the file of purchases: customer, date, number, value.

# days from 1970-01-01 to a date
function days(date,    y, m, d, a) {
	y = int(date / 10000); m = int(date / 100) % 100; d = date % 100
	a = int((14 - m) / 12); y += 4800 - a; m += 12 * a - 3
	return d + int((153 * m + 2) / 5) + 365 * y + int(y / 4) - int(y / 100) + int(y / 400) - 32045 - 2440588
}

BEGIN { now = days(end) }

NR > 1 && $2 <= end {
	sub(/\r$/, "", $4)
	age = now - days($2) # purchases stand at 00:00, the end of the day is a millisecond short of the next
	n[$1]++
	if (age < 90) n90[$1]++
	if (age < 180) { n180[$1]++; cents[$1] += int($4 * 100 + 0.5) }
	if (!($1 in last) || age < last[$1]) last[$1] = age
}

END {
	for (c in n) {
		if (n[c] >= 2) count["repeat"]++
		if (n90[c] >= 3) count["frequent"]++
		if (cents[c] > 10000) count["big_spender"]++
		if (last[c] >= 180) count["silent"]++
		if (n180[c] >= 5 && cents[c] > 20000) count["stage/top"]++
		else if (last[c] < 90) count["stage/active"]++
		else count["stage/lapsed"]++
	}
	for (s in count) print s, count[s]
}
