using Saturn.Engine;
using Saturn.Engine.Checkpoints;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>
/// Weights files in the layout of other frameworks: filters [out, in, height, width], names as registered. Tensors outside a model can be translated too.
/// </summary>
public static class ModelWeights
{
    /// <summary>Writes all parameters, running statistics included.</summary>
    public static void Save(Module module, string path) =>
        SafeTensors.Write(path, module.Parameters.ToDictionary(parameter => parameter.Name, parameter => Export(parameter.Value)));

    /// <summary>Reads all parameters of a module.</summary>
    /// <exception cref="CheckpointException">The file is damaged, or is another model's: names or shapes do not agree.</exception>
    public static void Load(Module module, string path) => Load(module.Parameters, parameter => parameter.Name, parameter => parameter.Value, SafeTensors.Read(path), path);

    /// <summary>Copies arrays of a file into tensors by name; every tensor must be there in its shape.</summary>
    public static void Load(
        IEnumerable<Parameter> parameters, Func<Parameter, string> nameOf, Func<Parameter, Tensor> target, IReadOnlyDictionary<string, SafeTensor> tensors, string path)
    {
        Parameter[] all = [.. parameters];
        string[] missing = [.. all.Select(nameOf).Where(name => !tensors.ContainsKey(name))];
        if (missing.Length > 0)
        {
            throw new CheckpointException(
                $"'{path}' belongs to another model: it lacks {missing.Length} of {all.Length} tensors, {string.Join(", ", missing.Take(3))}{(missing.Length > 3 ? ", …" : "")}.");
        }

        foreach (Parameter parameter in all)
        {
            SafeTensor source = tensors[nameOf(parameter)];
            Tensor tensor = target(parameter);
            int[] expected = ExportedShape(tensor.Shape);
            if (!source.Shape.SequenceEqual(expected))
            {
                throw new CheckpointException(
                    $"'{path}' belongs to another model: {nameOf(parameter)} has shape [{string.Join(", ", source.Shape)}] there, but [{string.Join(", ", expected)}] here.");
            }

            tensor.CopyFrom(Import(tensor.Shape, source.Values));
        }
    }

    /// <summary>A tensor's values in the exchange layout.</summary>
    public static SafeTensor Export(Tensor tensor)
    {
        Shape shape = tensor.Shape;
        float[] values = tensor.ToArray();
        if (shape.Rank == 4)
        {
            float[] exchanged = new float[values.Length];
            Exchange(shape, (own, other) => exchanged[other] = values[own]);
            values = exchanged;
        }

        return new SafeTensor(ExportedShape(shape), values);
    }

    private static float[] Import(Shape shape, float[] values)
    {
        if (shape.Rank != 4)
        {
            return values;
        }

        float[] own = new float[values.Length];
        Exchange(shape, (mine, other) => own[mine] = values[other]);
        return own;
    }

    private static int[] ExportedShape(Shape shape) => shape.Rank == 4 ? [shape[0], shape[3], shape[1], shape[2]] : shape.ToArray();

    /// <summary>Pairs the index of each element in [out, h, w, in] with that in [out, in, h, w].</summary>
    private static void Exchange(Shape shape, Action<int, int> pair)
    {
        int own = 0;
        for (int o = 0; o < shape[0]; o++)
        {
            for (int h = 0; h < shape[1]; h++)
            {
                for (int w = 0; w < shape[2]; w++)
                {
                    for (int i = 0; i < shape[3]; i++)
                    {
                        pair(own++, ((o * shape[3] + i) * shape[1] + h) * shape[2] + w);
                    }
                }
            }
        }
    }
}
