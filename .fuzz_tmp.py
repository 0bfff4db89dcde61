import sys, collections; sys.path.insert(0,'.')
from hypothesis import given, settings, strategies as st, HealthCheck
from runtime.schemas import check_schema
KW=["$ref","$id","$schema","$defs","properties","items","type","pattern","allOf","$anchor","$dynamicRef","$dynamicAnchor","prefixItems","additionalProperties","patternProperties","if","not","dependentSchemas"]
T=st.sampled_from(["#","#/$defs/a","#a","","http://[","https://x.test/a","%zz","object","a","(","#/0","#/$defs/a/0","urn:x:y", "http://json-schema.org/draft-07/schema#","//"])
J=st.recursive(st.none()|st.booleans()|st.integers(-1,2)|T, lambda i: st.lists(i,max_size=3)|st.dictionaries(st.sampled_from(KW+["a","0"]),i,max_size=4),max_leaves=10)
odd=collections.Counter()
@settings(max_examples=15000,deadline=None,database=None,suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(KW),J,max_size=4))
def f(s):
    try: check_schema(s)
    except ValueError as e:
        if type(e) is not ValueError and odd[type(e)]<3:
            odd[type(e)]+=1; print("SUB",type(e),s,e)
    except BaseException as e:
        k=type(e)
        odd[k]+=1
        if odd[k]<4: print(k,s,repr(e)[:150])
f(); print(odd)
