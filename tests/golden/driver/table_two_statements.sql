CREATE TABLE plays (sid STRING) WITH ('layer' = 'ods');
CREATE TABLE stalls (sid STRING) WITH ('layer' = 'ods');
