
CREAT TABLE plays (sid STRING) WITH ('layer' = 'ods');
