SELECT
    arm,
    arg_max(trial, last_miou_percent) FILTER (state = 'COMPLETE') AS best_trial,
    max(last_miou_percent) FILTER (state = 'COMPLETE') AS miou_percent,
    count(*) FILTER (state = 'PRUNED') AS stopped_early,
    round(sum(seconds) / 3600, 2) AS hours
FROM read_parquet('runs/quickstart/tables/trials/*.parquet', union_by_name = true)
WHERE arm <> 'teacher'
GROUP BY arm
ORDER BY miou_percent DESC NULLS LAST, arm;
