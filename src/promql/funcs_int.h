// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The one function table: X(id, name, returns, variadic, experimental, signature, args..., doc). Sorted by name. */
#include "promql/promql.h"

#define S PROMQL_SCALAR
#define V PROMQL_VECTOR
#define M PROMQL_MATRIX
#define T PROMQL_STRING
#define FN_TABLE(X)                                                                                                    \
    X(ABS, "abs", V, 0, false, "abs(v instant-vector)", "The absolute value of every sample.", V)                      \
    X(ABSENT, "absent", V, 0, false, "absent(v instant-vector)",                                                       \
      "One element with value 1 when the vector is empty, nothing otherwise; labels are taken from equality "          \
      "matchers.",                                                                                                     \
      V)                                                                                                               \
    X(ABSENT_OVER_TIME, "absent_over_time", V, 0, false, "absent_over_time(v range-vector)",                           \
      "One element with value 1 when the range holds no sample of any series, nothing otherwise.", M)                  \
    X(ACOS, "acos", V, 0, false, "acos(v instant-vector)", "The arc cosine in radians.", V)                            \
    X(ACOSH, "acosh", V, 0, false, "acosh(v instant-vector)", "The inverse hyperbolic cosine.", V)                     \
    X(ASIN, "asin", V, 0, false, "asin(v instant-vector)", "The arc sine in radians.", V)                              \
    X(ASINH, "asinh", V, 0, false, "asinh(v instant-vector)", "The inverse hyperbolic sine.", V)                       \
    X(ATAN, "atan", V, 0, false, "atan(v instant-vector)", "The arc tangent in radians.", V)                           \
    X(ATANH, "atanh", V, 0, false, "atanh(v instant-vector)", "The inverse hyperbolic tangent.", V)                    \
    X(AVG_OVER_TIME, "avg_over_time", V, 0, false, "avg_over_time(v range-vector)",                                    \
      "The average of the samples in the range.", M)                                                                   \
    X(CEIL, "ceil", V, 0, false, "ceil(v instant-vector)", "Every sample rounded up to an integer.", V)                \
    X(CHANGES, "changes", V, 0, false, "changes(v range-vector)", "How often the value changed within the range.", M)  \
    X(CLAMP, "clamp", V, 0, false, "clamp(v instant-vector, min scalar, max scalar)",                                  \
      "Every sample limited to at least min and at most max; nothing when min > max.", V, S, S)                        \
    X(CLAMP_MAX, "clamp_max", V, 0, false, "clamp_max(v instant-vector, max scalar)",                                  \
      "Every sample limited to at most max.", V, S)                                                                    \
    X(CLAMP_MIN, "clamp_min", V, 0, false, "clamp_min(v instant-vector, min scalar)",                                  \
      "Every sample limited to at least min.", V, S)                                                                   \
    X(COS, "cos", V, 0, false, "cos(v instant-vector)", "The cosine of an angle in radians.", V)                       \
    X(COSH, "cosh", V, 0, false, "cosh(v instant-vector)", "The hyperbolic cosine.", V)                                \
    X(COUNT_OVER_TIME, "count_over_time", V, 0, false, "count_over_time(v range-vector)",                              \
      "The number of samples in the range.", M)                                                                        \
    X(DAY_OF_MONTH, "day_of_month", V, 1, false, "day_of_month(v = vector(time()) instant-vector)",                    \
      "The day of the month in UTC, 1 to 31, of times given in seconds since 1970.", V)                                \
    X(DAY_OF_WEEK, "day_of_week", V, 1, false, "day_of_week(v = vector(time()) instant-vector)",                       \
      "The day of the week in UTC, 0 (Sunday) to 6, of times given in seconds since 1970.", V)                         \
    X(DAY_OF_YEAR, "day_of_year", V, 1, false, "day_of_year(v = vector(time()) instant-vector)",                       \
      "The day of the year in UTC, 1 to 366, of times given in seconds since 1970.", V)                                \
    X(DAYS_IN_MONTH, "days_in_month", V, 1, false, "days_in_month(v = vector(time()) instant-vector)",                 \
      "The number of days, 28 to 31, of the month in UTC that a time lies in.", V)                                     \
    X(DEG, "deg", V, 0, false, "deg(v instant-vector)", "Radians converted to degrees.", V)                            \
    X(DELTA, "delta", V, 0, false, "delta(v range-vector)",                                                            \
      "The difference between the last and first value of a gauge, extrapolated to the whole range.", M)               \
    X(DERIV, "deriv", V, 0, false, "deriv(v range-vector)",                                                            \
      "The per-second derivative of a gauge, by simple linear regression.", M)                                         \
    X(DOUBLE_EXPONENTIAL_SMOOTHING, "double_exponential_smoothing", V, 0, true,                                        \
      "double_exponential_smoothing(v range-vector, sf scalar, tf scalar)",                                            \
      "A smoothed value from the range: sf in (0, 1) weighs recent samples, tf in (0, 1) the trend.", M, S, S)         \
    X(END, "end", S, 0, true, "end()", "The end time of the query in seconds since 1970.", PROMQL_NONE)                \
    X(EXP, "exp", V, 0, false, "exp(v instant-vector)", "e raised to every sample.", V)                                \
    X(FIRST_OVER_TIME, "first_over_time", V, 0, true, "first_over_time(v range-vector)",                               \
      "The oldest sample in the range.", M)                                                                            \
    X(FLOOR, "floor", V, 0, false, "floor(v instant-vector)", "Every sample rounded down to an integer.", V)           \
    X(HISTOGRAM_AVG, "histogram_avg", V, 0, false, "histogram_avg(v instant-vector)",                                  \
      "The average of the observations in every native histogram.", V)                                                 \
    X(HISTOGRAM_COUNT, "histogram_count", V, 0, false, "histogram_count(v instant-vector)",                            \
      "The number of observations in every native histogram.", V)                                                      \
    X(HISTOGRAM_FRACTION, "histogram_fraction", V, 0, false,                                                           \
      "histogram_fraction(lower scalar, upper scalar, b instant-vector)",                                              \
      "The estimated share of observations between lower and upper, of native or classic histograms.", S, S, V)        \
    X(HISTOGRAM_QUANTILE, "histogram_quantile", V, 0, false, "histogram_quantile(q scalar, b instant-vector)",         \
      "The estimated q-quantile (0 to 1) of native or classic histograms.", S, V)                                      \
    X(HISTOGRAM_QUANTILES, "histogram_quantiles", V, 9, true,                                                          \
      "histogram_quantiles(b instant-vector, label string, q scalar, ...)",                                            \
      "Several estimated quantiles at once (up to ten), told apart by the named label.", V, T, S, S)                   \
    X(HISTOGRAM_STDDEV, "histogram_stddev", V, 0, false, "histogram_stddev(v instant-vector)",                         \
      "The estimated standard deviation of the observations in every native histogram.", V)                            \
    X(HISTOGRAM_STDVAR, "histogram_stdvar", V, 0, false, "histogram_stdvar(v instant-vector)",                         \
      "The estimated variance of the observations in every native histogram.", V)                                      \
    X(HISTOGRAM_SUM, "histogram_sum", V, 0, false, "histogram_sum(v instant-vector)",                                  \
      "The sum of the observations in every native histogram.", V)                                                     \
    X(HOUR, "hour", V, 1, false, "hour(v = vector(time()) instant-vector)",                                            \
      "The hour of the day in UTC, 0 to 23, of times given in seconds since 1970.", V)                                 \
    X(IDELTA, "idelta", V, 0, false, "idelta(v range-vector)",                                                         \
      "The difference between the last two samples of a gauge.", M)                                                    \
    X(INCREASE, "increase", V, 0, false, "increase(v range-vector)",                                                   \
      "How much a counter grew over the range, resets mended and extrapolated to the whole range.", M)                 \
    X(INFO, "info", V, 1, true, "info(v instant-vector, [data-label-selector instant-vector])",                        \
      "Adds the data labels of matching info series (target_info unless the selector says otherwise).", V, V)          \
    X(IRATE, "irate", V, 0, false, "irate(v range-vector)",                                                            \
      "The per-second increase of a counter between its last two samples.", M)                                         \
    X(LABEL_JOIN, "label_join", V, -1, false,                                                                          \
      "label_join(v instant-vector, dst string, separator string, src string, ...)",                                   \
      "Joins the values of the source labels with a separator into the label dst.", V, T, T, T)                        \
    X(LABEL_REPLACE, "label_replace", V, 0, false,                                                                     \
      "label_replace(v instant-vector, dst string, replacement string, src string, regex string)",                     \
      "Where the whole value of src matches the regex, sets dst to the replacement with $1, $2 ... filled in.", V, T,  \
      T, T, T)                                                                                                         \
    X(LAST_OVER_TIME, "last_over_time", V, 0, false, "last_over_time(v range-vector)",                                 \
      "The newest sample in the range.", M)                                                                            \
    X(LN, "ln", V, 0, false, "ln(v instant-vector)", "The natural logarithm.", V)                                      \
    X(LOG10, "log10", V, 0, false, "log10(v instant-vector)", "The decimal logarithm.", V)                             \
    X(LOG2, "log2", V, 0, false, "log2(v instant-vector)", "The binary logarithm.", V)                                 \
    X(MAD_OVER_TIME, "mad_over_time", V, 0, true, "mad_over_time(v range-vector)",                                     \
      "The median absolute deviation of the samples in the range.", M)                                                 \
    X(MAX_OF, "max_of", S, 0, true, "max_of(a scalar, b scalar)", "The larger of two scalars.", S, S)                  \
    X(MAX_OVER_TIME, "max_over_time", V, 0, false, "max_over_time(v range-vector)",                                    \
      "The largest sample in the range.", M)                                                                           \
    X(MIN_OF, "min_of", S, 0, true, "min_of(a scalar, b scalar)", "The smaller of two scalars.", S, S)                 \
    X(MIN_OVER_TIME, "min_over_time", V, 0, false, "min_over_time(v range-vector)",                                    \
      "The smallest sample in the range.", M)                                                                          \
    X(MINUTE, "minute", V, 1, false, "minute(v = vector(time()) instant-vector)",                                      \
      "The minute of the hour in UTC, 0 to 59, of times given in seconds since 1970.", V)                              \
    X(MONTH, "month", V, 1, false, "month(v = vector(time()) instant-vector)",                                         \
      "The month of the year in UTC, 1 to 12, of times given in seconds since 1970.", V)                               \
    X(PI, "pi", S, 0, false, "pi()", "The number pi.", PROMQL_NONE)                                                    \
    X(PREDICT_LINEAR, "predict_linear", V, 0, false, "predict_linear(v range-vector, t scalar)",                       \
      "The value of a gauge t seconds from now, by simple linear regression.", M, S)                                   \
    X(PRESENT_OVER_TIME, "present_over_time", V, 0, false, "present_over_time(v range-vector)",                        \
      "1 for every series with a sample in the range.", M)                                                             \
    X(QUANTILE_OVER_TIME, "quantile_over_time", V, 0, false, "quantile_over_time(q scalar, v range-vector)",           \
      "The q-quantile (0 to 1) of the samples in the range.", S, M)                                                    \
    X(RAD, "rad", V, 0, false, "rad(v instant-vector)", "Degrees converted to radians.", V)                            \
    X(RANGE, "range", S, 0, true, "range()",                                                                           \
      "The length of the query's time range in seconds, 0 for an instant query.", PROMQL_NONE)                         \
    X(RATE, "rate", V, 0, false, "rate(v range-vector)",                                                               \
      "The per-second increase of a counter over the range, resets mended and extrapolated.", M)                       \
    X(RESETS, "resets", V, 0, false, "resets(v range-vector)", "How often a counter was reset within the range.", M)   \
    X(ROUND, "round", V, 1, false, "round(v instant-vector, to_nearest = 1 scalar)",                                   \
      "Every sample rounded to the nearest multiple of to_nearest, halves up.", V, S)                                  \
    X(SCALAR, "scalar", S, 0, false, "scalar(v instant-vector)",                                                       \
      "The value of a vector's only float element, NaN when it has none or several.", V)                               \
    X(SGN, "sgn", V, 0, false, "sgn(v instant-vector)", "The sign of every sample: 1, 0 or -1.", V)                    \
    X(SIN, "sin", V, 0, false, "sin(v instant-vector)", "The sine of an angle in radians.", V)                         \
    X(SINH, "sinh", V, 0, false, "sinh(v instant-vector)", "The hyperbolic sine.", V)                                  \
    X(SORT, "sort", V, 0, false, "sort(v instant-vector)", "The elements by value, ascending; for instant queries.",   \
      V)                                                                                                               \
    X(SORT_BY_LABEL, "sort_by_label", V, -1, true, "sort_by_label(v instant-vector, label string, ...)",               \
      "The elements by the natural order of the labels named; for instant queries.", V, T)                             \
    X(SORT_BY_LABEL_DESC, "sort_by_label_desc", V, -1, true,                                                           \
      "sort_by_label_desc(v instant-vector, label string, ...)",                                                       \
      "The elements by the reversed natural order of the labels named; for instant queries.", V, T)                    \
    X(SORT_DESC, "sort_desc", V, 0, false, "sort_desc(v instant-vector)",                                              \
      "The elements by value, descending; for instant queries.", V)                                                    \
    X(SQRT, "sqrt", V, 0, false, "sqrt(v instant-vector)", "The square root.", V)                                      \
    X(START, "start", S, 0, true, "start()", "The start time of the query in seconds since 1970.", PROMQL_NONE)        \
    X(START_TIMESTAMP, "start_timestamp", V, 0, true, "start_timestamp(v instant-vector)",                             \
      "The start (created) timestamp of every sample in seconds since 1970, 0 when unknown.", V)                       \
    X(STDDEV_OVER_TIME, "stddev_over_time", V, 0, false, "stddev_over_time(v range-vector)",                           \
      "The population standard deviation of the samples in the range.", M)                                             \
    X(STDVAR_OVER_TIME, "stdvar_over_time", V, 0, false, "stdvar_over_time(v range-vector)",                           \
      "The population variance of the samples in the range.", M)                                                       \
    X(STEP, "step", S, 0, true, "step()", "The step of the query in seconds, 0 for an instant query.", PROMQL_NONE)    \
    X(SUM_OVER_TIME, "sum_over_time", V, 0, false, "sum_over_time(v range-vector)",                                    \
      "The sum of the samples in the range.", M)                                                                       \
    X(TAN, "tan", V, 0, false, "tan(v instant-vector)", "The tangent of an angle in radians.", V)                      \
    X(TANH, "tanh", V, 0, false, "tanh(v instant-vector)", "The hyperbolic tangent.", V)                               \
    X(TIME, "time", S, 0, false, "time()", "The time the expression is evaluated at, in seconds since 1970.",          \
      PROMQL_NONE)                                                                                                     \
    X(TIMESTAMP, "timestamp", V, 0, false, "timestamp(v instant-vector)",                                              \
      "The time of every sample in seconds since 1970.", V)                                                            \
    X(TS_OF_FIRST_OVER_TIME, "ts_of_first_over_time", V, 0, true, "ts_of_first_over_time(v range-vector)",             \
      "The time of the oldest sample in the range, in seconds since 1970.", M)                                         \
    X(TS_OF_LAST_OVER_TIME, "ts_of_last_over_time", V, 0, true, "ts_of_last_over_time(v range-vector)",                \
      "The time of the newest sample in the range, in seconds since 1970.", M)                                         \
    X(TS_OF_MAX_OVER_TIME, "ts_of_max_over_time", V, 0, true, "ts_of_max_over_time(v range-vector)",                   \
      "The time of the last sample in the range that has the largest value.", M)                                       \
    X(TS_OF_MIN_OVER_TIME, "ts_of_min_over_time", V, 0, true, "ts_of_min_over_time(v range-vector)",                   \
      "The time of the last sample in the range that has the smallest value.", M)                                      \
    X(VECTOR, "vector", V, 0, false, "vector(s scalar)", "The scalar as a vector with one element without labels.", S) \
    X(YEAR, "year", V, 1, false, "year(v = vector(time()) instant-vector)",                                            \
      "The year in UTC of times given in seconds since 1970.", V)

enum fn_id {
#define X(id, ...) FN_##id,
    FN_TABLE(X)
#undef X
        FN_COUNT
};
#undef S
#undef V
#undef M
#undef T
