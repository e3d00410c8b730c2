using Saturn.Engine;
using Saturn.Engine.Checkpoints;
using Saturn.Kernels;

namespace Saturn.Layers;

/// <summary>
/// Weights files in the layout of other frameworks: filters [out, in, height, width], columns behind a flattened image in the order (channel, height, width), names
/// as registered. Tensors beside a parameter, such as an optimizer's moments, can be translated too.
/// </summary>
public static class ModelWeights
{
    /// <summary>Writes all parameters, running statistics included.</summary>
    public static void Save(Module module, string path) =>
        SafeTensors.Write(path, module.Parameters.ToDictionary(parameter => parameter.Name, parameter => Export(parameter, parameter.Value)));

    /// <summary>
    /// Reads all parameters of a module. The file must hold exactly these, except for batch counters (<c>num_batches_tracked</c>), which some frameworks write
    /// and nothing here reads.
    /// </summary>
    /// <exception cref="CheckpointException">The file is damaged, or is another model's: names or shapes do not agree.</exception>
    public static void Load(Module module, string path)
    {
        Dictionary<string, SafeTensor> tensors = SafeTensors.Read(path);
        Parameter[] parameters = [.. module.Parameters];
        HashSet<string> known = [.. parameters.Select(parameter => parameter.Name)];
        string[] unexpected = [.. tensors.Keys.Where(name => !known.Contains(name) && !name.EndsWith("num_batches_tracked", StringComparison.Ordinal))];
        if (unexpected.Length > 0 && known.IsSubsetOf(tensors.Keys))
        {
            throw new CheckpointException(
                $"'{path}' belongs to another model: beside the {parameters.Length} tensors of this one it holds {unexpected.Length} more, {Some(unexpected)}.");
        }

        Load(parameters, parameter => parameter.Name, parameter => parameter.Value, tensors, path);
    }

    /// <summary>Copies arrays of a file into tensors by name; every tensor must be there in its shape.</summary>
    /// <param name="parameters">The parameters that the tensors belong to.</param>
    /// <param name="nameOf">The name of a parameter's tensor in the file.</param>
    /// <param name="target">The tensor, of the parameter's shape.</param>
    /// <param name="tensors">The file's arrays.</param>
    /// <param name="path">The file, for messages.</param>
    /// <exception cref="CheckpointException">A name is missing or a shape differs; nothing has been copied then.</exception>
    public static void Load(
        IEnumerable<Parameter> parameters, Func<Parameter, string> nameOf, Func<Parameter, Tensor> target, IReadOnlyDictionary<string, SafeTensor> tensors, string path)
    {
        Parameter[] all = [.. parameters];
        string[] missing = [.. all.Select(nameOf).Where(name => !tensors.ContainsKey(name))];
        if (missing.Length > 0)
        {
            throw new CheckpointException($"'{path}' belongs to another model: it lacks {missing.Length} of {all.Length} tensors, {Some(missing)}.");
        }

        foreach (Parameter parameter in all)
        {
            SafeTensor source = tensors[nameOf(parameter)];
            int[] expected = ExportedShape(target(parameter).Shape);
            if (!source.Shape.SequenceEqual(expected))
            {
                throw new CheckpointException(
                    $"'{path}' belongs to another model: {nameOf(parameter)} has shape [{string.Join(", ", source.Shape)}] there, but [{string.Join(", ", expected)}] here.");
            }
        }

        foreach (Parameter parameter in all)
        {
            target(parameter).CopyFrom(Import(parameter, tensors[nameOf(parameter)].Values));
        }
    }

    /// <summary>The values of a parameter, or of a tensor of its shape, in the exchange layout.</summary>
    public static SafeTensor Export(Parameter parameter, Tensor tensor)
    {
        float[] values = tensor.ToArray();
        if (ImageShape(parameter) is { } shape)
        {
            float[] exchanged = new float[values.Length];
            Exchange(shape, (own, other) => exchanged[other] = values[own]);
            values = exchanged;
        }

        return new SafeTensor(ExportedShape(tensor.Shape), values);
    }

    private static float[] Import(Parameter parameter, float[] values)
    {
        if (ImageShape(parameter) is not { } shape)
        {
            return values;
        }

        float[] own = new float[values.Length];
        Exchange(shape, (mine, other) => own[mine] = values[other]);
        return own;
    }

    private static int[] ExportedShape(Shape shape) => shape.Rank == 4 ? [shape[0], shape[3], shape[1], shape[2]] : shape.ToArray();

    /// <summary>[out, height, width, in] where the order of the elements differs between the layouts; null where it does not.</summary>
    private static Shape? ImageShape(Parameter parameter)
    {
        Shape shape = parameter.Shape;
        if (shape.Rank == 4)
        {
            return shape;
        }

        return parameter.FlattenedImage is var (height, width) ? new Shape(shape[0], height, width, shape[1] / (height * width)) : null;
    }

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

    private static string Some(string[] names) => string.Join(", ", names.Take(3)) + (names.Length > 3 ? ", …" : "");
}
