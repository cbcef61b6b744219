CREATE TABLE plays (
  timestamp BIGINT
) WITH ('layer' = 'ods');
